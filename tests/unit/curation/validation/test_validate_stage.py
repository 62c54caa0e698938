"""The validation step over files: derived columns, rejected lines, reports, processes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.config import ValidationConfig
from flywheel.curation.schema import EXTRACTED_FILES, REJECTED_FILE, VALIDATED
from flywheel.curation.validation.validate_stage import validate
from flywheel.errors import DatasetError
from flywheel.progress import silent
from flywheel.records.canonical import fingerprint
from tests.unit.curation.calls import call, curated, record, request, response


def test_one_tool_call_does_not_make_a_workload_tool_calling(tmp_path: Path) -> None:
    records = [record(i) for i in range(99)] + [
        record(99, response=response("tool_calls", tool_calls=[call()]))
    ]
    table, rejected, report = curated(tmp_path, records)
    assert rejected == []
    assert report["answer_classes"] == {"no_tool": 99, "track": 1}
    assert table.num_rows == 100


def test_the_validated_table_has_the_schema_and_the_logged_bytes(tmp_path: Path) -> None:
    logged = record(1, conversation_id="k", latency_ms=5.5, tokens_in=7, tokens_out=9, anything="else")
    table, _, _ = curated(tmp_path, [logged])
    assert table.schema.equals(VALIDATED)
    (row,) = table.to_pylist()
    assert json.loads(row["request"]) == logged["request"]
    assert json.loads(row["response"]) == logged["response"]
    kept = {
        key: row[key] for key in ("record_id", "timestamp", "conversation_id", "latency_ms", "file", "line")
    }
    assert kept == {
        "record_id": "r1",
        "timestamp": 1_750_000_001.0,
        "conversation_id": "k",
        "latency_ms": 5.5,
        "file": "log.jsonl",
        "line": 1,
    }


def test_hashes_are_those_of_the_canonical_call(tmp_path: Path) -> None:
    logged = record(1, response=response(tool_calls=[call()]))
    table, _, _ = curated(tmp_path, [logged])
    (row,) = table.to_pylist()
    expected = fingerprint(logged["request"], logged["response"]["choices"][0]["message"])
    assert (row["request_hash"], row["answer_hash"]) == (expected.request, expected.answer)
    assert (row["context_hash"], row["thread_hash"]) == (expected.context, expected.thread)
    assert row["prefix_hashes"] == expected.prefixes


def test_the_text_is_the_conversation_without_its_system_prompt(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "SECRET"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": None, "tool_calls": [call()]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "depot ü"}]},
    ]
    table, _, _ = curated(tmp_path, [record(0, request=request(*messages))])
    (row,) = table.to_pylist()
    assert row["text"] == 'first\ntrack({"order":"A1"})\ndepot ü'
    assert row["text"][row["last_message_start"] :] == "depot ü"
    assert row["roles"] == "uat"


def test_a_request_of_system_messages_alone_has_their_text(tmp_path: Path) -> None:
    table, _, _ = curated(
        tmp_path, [record(0, request=request({"role": "system", "content": "write a poem"}))]
    )
    (row,) = table.to_pylist()
    assert (row["roles"], row["text"], row["last_message_start"]) == ("s", "write a poem", 0)


def test_a_record_without_an_id_gets_one_from_its_content(tmp_path: Path) -> None:
    """Reading a file twice must not double it; two calls that differ in anything are two records."""
    bare = record(0, id=...)
    respelt = {key: bare[key] for key in reversed(bare)} | {"timestamp": bare["timestamp"] * 1000}
    others = [
        bare | {"timestamp": bare["timestamp"] + 1},
        bare | {"request": bare["request"] | {"user": "u1"}},
        bare | {"response": response(content="else")},
        bare | {"conversation_id": "k"},
    ]
    table, _, _ = curated(tmp_path, [bare, respelt, *others])
    found = table["record_id"].to_pylist()
    assert found[0] == found[1]
    assert len(set(found)) == 5
    assert all(len(identity) == 32 for identity in found)


def test_rejected_lines_hold_reason_origin_and_the_whole_record(tmp_path: Path) -> None:
    bad = record(
        1, response=response("length", content="hel"), timestamp="soon", region="eu", tokens_in="many"
    )
    _, (line,), report = curated(tmp_path, [record(0), bad])
    assert (line["reason"], line["file"], line["line"]) == ("bad_timestamp", "log.jsonl", 2)
    assert line["record"] == bad
    assert report["reasons"] == {"bad_timestamp": 1}


def test_what_can_be_read_as_a_line_but_not_decoded_is_kept_as_text(tmp_path: Path) -> None:
    log = json.dumps(record(1, request={"messages": "TOO BIG"}, odd="TOO BIG")).replace('"TOO BIG"', "1e999")
    (tmp_path / "log.jsonl").write_text("")
    table, rejected, _ = curated_text(tmp_path, json.dumps(record(0)) + "\n" + log + "\n")
    (line,) = rejected
    assert line["reason"] == "not_json"
    assert "1e999" in line["record"]["request"]
    assert math.isinf(line["record"]["odd"])
    assert table.num_rows == 1


def curated_text(tmp_path: Path, text: str) -> tuple[Any, list[dict[str, Any]], dict[str, Any]]:
    from blocks.logs.file_log_store import FileLogStore
    from blocks.ports import LogQuery
    from flywheel.curation.extraction import extract

    log = tmp_path / "log.jsonl"
    log.write_text(text)
    extract(FileLogStore(log).read(LogQuery("w", "c"), silent), tmp_path / "extracted", silent)
    report = validate(tmp_path / "extracted", tmp_path / "validated", ValidationConfig(), silent, 1)
    (part,) = (tmp_path / "validated").glob("*.parquet")
    rejected = [
        json.loads(line) for line in (tmp_path / "validated" / REJECTED_FILE).read_text().splitlines()
    ]
    return pq.read_table(part), rejected, report


def test_several_choices_and_schema_violations_are_in_the_report(tmp_path: Path) -> None:
    two = {"choices": response(content="")["choices"] + response(content="x")["choices"]}
    wrong = response(tool_calls=[call(arguments="{}"), call("fly", "{}")])
    odd = request(tools=[{"type": "function", "function": {"name": "odd", "parameters": {"type": "dict"}}}])
    records = [
        record(0, response=two),
        record(1, response=wrong),
        record(2, request=odd, response=response(tool_calls=[call("odd", "{}")])),
    ]
    table, _, report = curated(tmp_path, records)
    assert table["choice"].to_pylist() == [1, 0, 0]
    assert report["several_choices"] == {"records": 1, "used": {"1": 1}}
    violations = report["schema_violations"]
    assert (violations["records"], violations["by_tool"]) == (1, {"fly": 1, "track": 1})
    assert violations["examples"][0]["line"] == 2
    assert violations["unusable_schemas"] == {"odd": 1}
    assert (report["read"], report["valid"], report["invalid"]) == (3, 3, 0)


SPOILED = st.sampled_from(
    [
        {},
        {"request": None},
        {"response": ...},
        {"timestamp": 3},
        {"timestamp": ...},
        {"response": {"choices": []}},
        {"request": {"messages": []}},
        {"workload_id": "other"},
        {"workload_id": ...},
    ]
)


@settings(max_examples=20, deadline=None)
@given(st.lists(SPOILED, min_size=1, max_size=12))
def test_every_record_is_kept_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, spoiled: list[Any]
) -> None:
    records = [record(i, **fields) for i, fields in enumerate(spoiled)]
    records.append(record(len(records)))  # a log with nothing of ours in it is an error
    ours = [r["id"] for r in records if r.get("workload_id") != "other"]
    table, rejected, _ = curated(tmp_path_factory.mktemp("log"), records)
    assert sorted(table["record_id"].to_pylist() + [line["record"]["id"] for line in rejected]) == sorted(
        ours
    )


def test_a_record_without_any_time_is_usable(tmp_path: Path) -> None:
    table, rejected, _ = curated(tmp_path, [record(0, timestamp=...)])
    assert table["timestamp"].to_pylist() == [None]
    assert rejected == []


def test_nothing_extracted_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        validate(tmp_path, tmp_path / "out", ValidationConfig(), silent)


def test_the_output_does_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    records = [
        record(i, response=response("length" if i % 7 == 0 else "stop", content="x")) for i in range(100)
    ]
    curated(tmp_path, records)
    (only,) = (tmp_path / "extracted").glob(EXTRACTED_FILES)
    for number in range(1, 5):
        (tmp_path / "extracted" / f"extracted-{number:05d}.parquet").write_bytes(only.read_bytes())
    outputs = []
    for workers in (1, 2):
        out = tmp_path / f"by-{workers}"
        report = validate(tmp_path / "extracted", out, ValidationConfig(), silent, workers)
        files = {path.name: path.read_bytes() for path in sorted(out.iterdir())}
        outputs.append((report, files))
    assert outputs[0] == outputs[1]
    assert outputs[0][0]["reasons"] == {"truncated_answer": 75}
    assert msgspec.json.encode(outputs[0][0]) == msgspec.json.encode(outputs[1][0])
