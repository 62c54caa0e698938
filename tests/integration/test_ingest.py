"""`flywheel ingest` as a user types it, into a server that speaks Elasticsearch's protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch as Client

from blocks.connections import log_store_named
from blocks.logs.file_log_store import FileLogStore
from blocks.ports import LogQuery
from flywheel.cli.main import main
from flywheel.progress import silent
from flywheel.records.canonical import content_id
from flywheel_exporter import Elasticsearch, Line
from tests.unit.curation.calls import record

HOSTILE = '*" OR "1"="1'


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    times = [1_750_000_000, 1_750_000_001_000, "2025-06-15T15:06:42Z", "1750000003", 1_750_000_004.25]
    records: list[dict[str, Any]] = [record(i, timestamp=times[i % 5]) for i in range(60)]
    records += [record(100, id=...), record(101, workload_id=HOSTILE), record(102, id="x" * 2_000)]
    records += [record(103, response=...), {"client_id": "c"}]
    lines = [*map(json.dumps, records), "oops", "[1]"]
    path.write_text("".join(line + "\n" for line in lines))
    return path


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, elasticsearch_url: str, elasticsearch_index: str) -> None:
    monkeypatch.setenv("ELASTICSEARCH_URL", elasticsearch_url)
    monkeypatch.setenv("ELASTICSEARCH_INDEX", elasticsearch_index)


def ingest(log: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    rejected = str(log.parent / "rejected.jsonl")
    assert main(["ingest", str(log), "--to", "elasticsearch", "--rejected", rejected, "--json", *more]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_what_a_file_holds_is_there_once_and_its_refused_lines_are_kept(
    log: Path, capsys: pytest.CaptureFixture[str], elasticsearch_url: str, elasticsearch_index: str
) -> None:
    first, again = ingest(log, capsys)["total"], ingest(log, capsys)["total"]
    assert first == {"lines": 67, "created": 65, "existing": 0, "refused": {"not_json": 2}}
    assert again == {"lines": 67, "created": 0, "existing": 65, "refused": {"not_json": 2}}
    with Client(elasticsearch_url) as client:
        assert client.count(index=elasticsearch_index)["count"] == 65
        fields = client.indices.get_mapping(index=elasticsearch_index)[elasticsearch_index]["mappings"][
            "properties"
        ]
    assert fields["workload_id"]["type"] == "keyword"
    rejected = [json.loads(line) for line in (log.parent / "rejected.jsonl").read_text().splitlines()]
    assert [(line["reason"], line["line"], line["record"]) for line in rejected] == [
        ("not_json", 66, "oops"),
        ("not_json", 67, "[1]"),
    ]


async def test_read_back_a_log_is_the_same_as_from_its_file(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids, times and payloads: a run over the store gives what a run over the file gives."""
    import asyncio

    await asyncio.to_thread(ingest, log, capsys)
    store = await log_store_named("elasticsearch")
    for workload in ("w", HOSTILE):
        found = [
            {
                (
                    row["id"],
                    row["timestamp"],
                    row["client_id"],
                    *(content_id([json.loads(row[name] or b"null")]) for name in ("request", "response")),
                )
                for batch in source.read(LogQuery(workload, "c"), silent)
                for row in batch.records.to_pylist()
            }
            for source in (store, FileLogStore(log))
        ]
        assert found[0] == found[1]
        assert len(found[0]) == (63 if workload == "w" else 1)


def test_people_get_a_table_and_the_next_step(
    log: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["ingest", str(log), "--rejected", str(tmp_path / "r.jsonl")]) == 0
    shown = capsys.readouterr()
    assert "65" in shown.out
    assert "flywheel workloads --from elasticsearch" in shown.out
    assert "load:" in shown.err


def test_a_load_of_which_nothing_came_in_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("oops\n")
    assert main(["ingest", str(path), "--rejected", str(tmp_path / "r.jsonl")]) == 3
    assert "Refused lines (1)" in capsys.readouterr().out


def test_without_files_the_index_is_made_ready_for_an_application_to_write_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], elasticsearch_url: str, elasticsearch_index: str
) -> None:
    assert main(["ingest", "--to", "elasticsearch", "--rejected", str(tmp_path / "r.jsonl")]) == 0
    assert f"{elasticsearch_index} is ready" in capsys.readouterr().out
    with Client(elasticsearch_url) as client:
        mapping = client.indices.get_mapping(index=elasticsearch_index)[elasticsearch_index]["mappings"]
    assert mapping["properties"]["workload_id"]["type"] == "keyword"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nothing.jsonl"], 3, "there is no log at"),
        (["{log}", "--index", "logs-*"], 2, "name one index"),
        (["{log}", "--to", "files"], 2, "cannot be loaded into"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    log: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    rejected = ["--rejected", str(log.parent / "r.jsonl")]
    assert main(["ingest", *(a.format(log=log) for a in arguments), *rejected]) == code
    assert says in capsys.readouterr().err


def test_an_index_that_another_tool_made_is_told_with_what_mends_it(
    log: Path, capsys: pytest.CaptureFixture[str], elasticsearch_url: str, elasticsearch_index: str
) -> None:
    with Client(elasticsearch_url) as client:
        client.index(index=elasticsearch_index, document=record(), refresh=True)
    assert main(["ingest", str(log), "--rejected", str(log.parent / "r.jsonl")]) == 3
    assert "mend" in capsys.readouterr().err


def test_what_the_exporters_sink_writes_twice_is_there_once(
    elasticsearch_url: str, elasticsearch_index: str
) -> None:
    sink = Elasticsearch(elasticsearch_url, elasticsearch_index)
    lines = [Line(f"id{i}", json.dumps(record(i)).encode()) for i in range(20)]
    for _ in range(2):
        outcome = sink.write(lines)
        assert (outcome.refused, list(outcome.again)) == (0, [])
    sink.close()
    with Client(elasticsearch_url) as client:
        client.indices.refresh(index=elasticsearch_index)
        assert client.count(index=elasticsearch_index)["count"] == 20
        assert client.get(index=elasticsearch_index, id="id3")["_source"] == record(3)
