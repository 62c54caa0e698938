"""Loading through the bulk API, with a server that misbehaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocks.elasticsearch.bulk import BulkLoader, bulk_serializers
from blocks.elasticsearch.connection import connect
from blocks.elasticsearch.documents import Document
from blocks.elasticsearch.loading import REFUSED, load_files, loading_settings, target_index
from blocks.elasticsearch.settings import DEFAULT_INDEX, ElasticsearchSettings
from flywheel.errors import (
    ConfigError,
    DataError,
    EndpointRefused,
    RemoteError,
    RemoteRejected,
    TransientRemoteError,
)
from flywheel.progress import silent
from flywheel.report.loading import LoadReport, loading_rows
from tests.fakes.bulk_server import BulkServer, bulk_server
from tests.unit.curation.calls import record


@pytest.fixture
def server() -> Iterator[BulkServer]:
    with bulk_server() as server:
        yield server


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(record(i)) + "\n" for i in range(25)) + "oops\n")
    return path


def load(server: BulkServer, log: Path, **more: Any) -> LoadReport:
    settings = ElasticsearchSettings(hosts=(server.url,), attempts=3)
    return load_files(
        [log], settings, "log-store-x", log.parent / "rejected", silent, first_pause=0.001, **more
    )


def loader(server: BulkServer, **settings: Any) -> Iterator[BulkLoader]:
    with connect(ElasticsearchSettings(hosts=(server.url,), attempts=1), bulk_serializers()) as client:
        yield BulkLoader(client, "x", **({"attempts": 3, "first_pause": 0.001} | settings))


def documents(count: int) -> list[Document]:
    return [Document(f"id{i}", b'{"n": %d}' % i, "log", i) for i in range(count)]


def rejected(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (log.parent / "rejected").read_text().splitlines()]


def test_template_and_index_come_before_the_first_document_and_a_refresh_of_it_alone_after_the_last(
    server: BulkServer, log: Path
) -> None:
    load(server, log)
    assert server.paths == [
        "HEAD /log-store-x",
        "PUT /_index_template/flywheel-log-store",
        "PUT /log-store-x",
        "POST /log-store-x/_bulk",
        "POST /log-store-x/_refresh",
    ]


def test_loading_again_adds_nothing_and_says_so(server: BulkServer, log: Path) -> None:
    first, second = load(server, log).total(), load(server, log).total()
    assert (first.lines, first.created, first.existing, first.refused) == (26, 25, 0, {"not_json": 1})
    assert (second.lines, second.created, second.existing, second.refused) == (26, 0, 25, {"not_json": 1})
    assert len(server.documents) == 25


def test_what_the_server_refuses_is_kept_with_its_reason_and_the_rest_goes_in(
    server: BulkServer, log: Path
) -> None:
    numbers = iter(range(25))
    server.refuse = lambda name: 400 if next(numbers) % 5 == 0 else 201
    report = load(server, log)
    assert report.total().refused == {"not_json": 1, REFUSED: 5}
    assert report.total().created == 20
    kept = [line for line in rejected(log) if line["reason"] == REFUSED]
    assert [line["line"] for line in kept] == [1, 6, 11, 16, 21]
    assert "type_400: reason of" in kept[0]["detail"]
    assert kept[0]["record"]["request"] == record(0)["request"]
    assert kept[0]["file"] == str(log)


def test_single_documents_that_meet_a_busy_server_are_sent_again_until_they_are_in(
    server: BulkServer,
) -> None:
    tries: dict[str, int] = {}

    def busy_at_first(name: str) -> int:
        tries[name] = tries.get(name, 0) + 1
        return 429 if tries[name] <= int(name[2:]) % 3 else 201

    server.refuse = busy_at_first
    for bulk in loader(server):
        [loaded] = bulk.load(documents(30))
    assert sorted(server.documents) == sorted(document.id for document in loaded.created)
    assert len(server.documents) == 30
    assert [len(ids) for ids in server.requests] == [30, 20, 10]


def test_a_server_that_stays_busy_ends_the_load_with_what_to_do(server: BulkServer) -> None:
    server.refuse = lambda name: 429
    for bulk in loader(server):
        with pytest.raises(TransientRemoteError, match="load the same files again"):
            list(bulk.load(documents(5)))
    assert len(server.requests) == 3


def test_documents_whose_answer_was_lost_are_there_once_and_counted(server: BulkServer, log: Path) -> None:
    server.lost = 1
    total = load(server, log).total()
    assert len(server.requests) == 2
    assert len(server.documents) == 25
    assert (
        total.created + total.existing == 25
    )  # nobody can tell who made them: the first attempt, or another load
    assert total.refused == {"not_json": 1}


def test_requests_that_are_too_large_are_halved_and_what_is_too_large_alone_is_refused(
    server: BulkServer,
) -> None:
    server.respond = lambda ids: (413, "too large") if len(ids) > 4 or "id7" in ids else (200, None)
    for bulk in loader(server):
        [loaded] = bulk.load(documents(20))
    assert [refused.document.id for refused in loaded.refused] == ["id7"]
    assert len(server.documents) == 19


def test_batches_keep_to_records_and_bytes_and_no_more_than_a_few_are_read_ahead(server: BulkServer) -> None:
    read = 0

    def counting() -> Iterator[Document]:
        nonlocal read
        for document in documents(100):
            read += 1
            yield document

    for bulk in loader(server, batch_records=10, batch_bytes=50, threads=2):
        batches = bulk.load(counting())
        assert len(next(batches).created) <= 6
        assert read <= 30
        list(batches)
    assert len(server.documents) == 100
    assert max(map(len, server.requests)) <= 6


def test_another_load_may_make_the_index_first_but_a_name_that_is_none_is_an_error(
    server: BulkServer, log: Path
) -> None:
    server.create = (400, {"error": {"type": "resource_already_exists_exception", "reason": "exists"}})
    assert load(server, log).total().created == 25
    server.create = (400, {"error": {"type": "invalid_index_name_exception", "reason": "must be lowercase"}})
    with pytest.raises(RemoteRejected, match="must be lowercase"):
        load(server, log)


def test_an_unfit_index_is_told_before_anything_is_loaded(server: BulkServer, log: Path) -> None:
    server.exists = True
    server.mapping = {"properties": {"workload_id": {"type": "text"}}}
    with pytest.raises(DataError, match="takes identifiers apart"):
        load(server, log)
    assert not server.documents


def test_a_wrong_key_and_an_answer_of_another_shape_are_clear_errors(server: BulkServer, log: Path) -> None:
    server.respond = lambda ids: (401, {"error": "no"})
    with pytest.raises(EndpointRefused, match="API key"):
        load(server, log)
    server.respond = lambda ids: (200, {"items": []})
    with pytest.raises(RemoteError, match="proxy"):
        load(server, log)


def test_the_index_is_one_that_can_be_written_to() -> None:
    settings = ElasticsearchSettings()
    assert settings.index == DEFAULT_INDEX
    assert target_index(settings) == "log-store-ingested"
    assert target_index(settings, "mine") == "mine"
    assert target_index(replace(settings, index="own")) == "own"
    for pattern in ("logs-*", "a,b"):
        with pytest.raises(ConfigError, match="--index"):
            target_index(replace(settings, index=pattern))


async def test_only_a_store_that_takes_records_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://somewhere:9200")
    assert (await loading_settings("elasticsearch")).hosts == ("http://somewhere:9200",)
    with pytest.raises(ConfigError, match="elasticsearch"):
        await loading_settings("files")


def test_the_table_is_bounded_adds_up_and_no_name_can_break_it() -> None:
    report = LoadReport("index", "rejected")
    for number in range(300):
        file = report.file(f"file-{number:03}\n\x1b[31m")
        file.lines, file.created = 3, 2
        file.refused = {"not_json": 1}
    rows = loading_rows(report)
    assert len(rows) == 202
    assert rows[-1] == {
        "file": "all files",
        "lines": 900,
        "new": 600,
        "already there": 0,
        "refused": 300,
        "reasons": "not_json 300",
    }
    assert rows[-2]["file"] == "100 more files"
    assert "\x1b" not in rows[0]["file"]
    assert "\n" not in rows[0]["file"]
