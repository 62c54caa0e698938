"""The sinks: a file, and Elasticsearch's bulk API over a socket."""

from __future__ import annotations

import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel_exporter import Elasticsearch, JsonlFile, Line
from tests.fakes.bulk_server import BulkServer, bulk_server

LINES = [Line(f"id{i}", b'{"number": %d}' % i) for i in range(5)]


@pytest.fixture
def bulk() -> Iterator[BulkServer]:
    with bulk_server() as server:
        yield server


@pytest.fixture
def sink(bulk: BulkServer) -> Iterator[Elasticsearch]:
    sink = Elasticsearch(bulk.url + "/", "log-store")
    yield sink
    sink.close()


def test_each_line_becomes_a_document_under_its_id(bulk: BulkServer, sink: Elasticsearch) -> None:
    outcome = sink.write(LINES)
    assert (outcome.refused, list(outcome.again)) == (0, [])
    assert bulk.documents == {f"id{i}": {"number": i} for i in range(5)}
    assert bulk.paths == ["POST /_bulk"]


def test_what_is_there_already_counts_as_written(bulk: BulkServer, sink: Elasticsearch) -> None:
    bulk.respond = lambda ids: (200, {"items": [{"create": {"status": 409}} for _ in ids]})
    outcome = sink.write(LINES)
    assert (outcome.refused, list(outcome.again)) == (0, [])


def test_single_refusals_are_told_from_what_may_pass(bulk: BulkServer, sink: Elasticsearch) -> None:
    status = {"id1": 429, "id3": 400}
    bulk.respond = lambda ids: (
        200,
        {"items": [{"create": {"status": status.get(name, 201), "error": {"reason": name}}} for name in ids]},
    )
    outcome = sink.write(LINES)
    assert outcome.refused == 1
    assert [line.id for line in outcome.again] == ["id1"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_cluster_in_trouble_gets_the_batch_again(
    bulk: BulkServer, sink: Elasticsearch, status: int
) -> None:
    bulk.respond = lambda ids: (status, "<html>busy</html>")
    outcome = sink.write(LINES)
    assert list(outcome.again) == LINES
    assert str(status) in outcome.reason


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_cluster_that_refuses_us_is_not_asked_again(
    bulk: BulkServer, sink: Elasticsearch, status: int
) -> None:
    bulk.respond = lambda ids: (status, {"error": {"reason": "security"}})
    outcome = sink.write(LINES)
    assert (outcome.refused, list(outcome.again)) == (5, [])
    assert f"{status}" in outcome.reason
    assert "security" in outcome.reason


def test_a_cluster_that_is_not_there_gets_the_batch_again() -> None:
    sink = Elasticsearch("http://127.0.0.1:9", "log-store")
    assert list(sink.write(LINES).again) == LINES
    sink.close()


def test_a_batch_that_is_too_large_is_sent_in_halves(bulk: BulkServer, sink: Elasticsearch) -> None:
    bulk.respond = lambda ids: (413, "too large") if len(ids) > 2 or "id4" in ids else (200, None)
    outcome = sink.write(LINES)
    assert outcome.refused == 1
    assert sorted(bulk.documents) == ["id0", "id1", "id2", "id3"]


def test_no_request_is_longer_than_asked_for(bulk: BulkServer) -> None:
    sink = Elasticsearch(bulk.url, "log-store", batch_bytes=2 * len(LINES[0].data))
    sink.write(LINES)
    sink.close()
    assert [len(ids) for ids in bulk.requests] == [2, 2, 1]


def test_credentials_travel_as_headers(bulk: BulkServer) -> None:
    for sink in (
        Elasticsearch(bulk.url, "x", api_key="a2V5"),
        Elasticsearch(bulk.url, "x", basic_auth=("user", "pass")),
    ):
        sink.write(LINES)
        sink.close()
    assert [headers["authorization"] for headers in bulk.headers] == ["ApiKey a2V5", "Basic dXNlcjpwYXNz"]
    with pytest.raises(ValueError, match="not both"):
        Elasticsearch(bulk.url, "x", api_key="a", basic_auth=("b", "c"))


def test_a_closed_sink_opens_again(bulk: BulkServer, sink: Elasticsearch) -> None:
    sink.close()
    sink.write(LINES)
    assert len(bulk.documents) == 5


def test_a_file_is_appended_to_and_may_be_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "calls.jsonl"
    sink = JsonlFile(path)
    sink.write(LINES[:2])
    path.rename(tmp_path / "rotated")
    sink.write(LINES[2:3])
    sink.write(LINES[3:])
    assert (tmp_path / "rotated").read_bytes() == b'{"number": 0}\n{"number": 1}\n'
    assert path.read_bytes() == b'{"number": 2}\n{"number": 3}\n{"number": 4}\n'
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_of_a_batch_that_does_not_fit_on_the_disk_nothing_stays(tmp_path: Path) -> None:
    """It is handed in again, so half of it would stand there twice."""
    path = tmp_path / "calls.jsonl"
    sink = JsonlFile(path)
    sink.write(LINES[:2])
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
    try:
        with pytest.raises(OSError, match="large"):
            sink.write(LINES[2:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    sink.write(LINES[2:])
    assert len(path.read_bytes().splitlines()) == 5


def test_an_answer_that_is_no_bulk_answer_is_an_error(bulk: BulkServer, sink: Elasticsearch) -> None:
    """A proxy that says 200 with a page of its own must not pass for Elasticsearch."""
    bulk.respond = lambda ids: (200, "<html>welcome</html>")
    with pytest.raises(ValueError, match="Expecting value"):
        sink.write(LINES)
    bulk.respond = lambda ids: (200, {"items": []})
    with pytest.raises(ValueError, match="zip"):
        sink.write(LINES)
