"""OpenTelemetry spans in files: the contract of a log store, and how such files lie."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from blocks.logs.file_log_store import FileLogStore
from flywheel.progress import silent
from flywheel.traces.calls import Labels
from tests.contracts.log_store import BEGIN, LogStoreContract, StoreOf, ids, read, record, rows, total
from tests.unit.traces.spans import as_span, document, span

SERVICE = {"service.name": "shop"}


class TestSpans(LogStoreContract):
    @pytest.fixture
    def store_of(self, tmp_path: Path) -> StoreOf:
        def make(records: Sequence[Any]) -> FileLogStore:
            path = tmp_path / "traces.jsonl"
            spans = [as_span(logged) for logged in records]
            documents = [document(spans[i : i + 7]) for i in range(0, len(spans), 7)]
            path.write_text("".join(json.dumps(each) + "\n" for each in documents))
            return FileLogStore(path)

        return make


def traced(number: int, **fields: Any) -> dict[str, Any]:
    return as_span(record(number, **fields))


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_document_may_be_the_whole_file(tmp_path: Path, indent: int | None, pack: Any) -> None:
    path = tmp_path / "traces.json"
    path.write_bytes(pack(json.dumps(document([traced(0), traced(1)]), indent=indent).encode()))
    assert ids(read(FileLogStore(path))) == ["r0", "r1"]


def test_spans_and_records_lie_side_by_side_in_one_directory(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(record(0)) + "\n")
    (tmp_path / "b.json").write_text(json.dumps(document([traced(1)])) + "\n")
    batches = read(FileLogStore(tmp_path))
    assert [(row["id"], row["file"], row["line"]) for row in rows(batches)] == [
        ("r0", "a.jsonl", 1),
        ("r1", "b.json", 1),
    ]


def test_what_is_no_model_call_is_counted_and_nobodys_record(tmp_path: Path) -> None:
    spans = [
        traced(0),
        span({"http.request.method": "GET"}, name="GET /"),
        span({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look_up"}),
        span({"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "e"}),
    ]
    path = tmp_path / "traces"
    path.write_text(json.dumps(document(spans)))
    store = FileLogStore(path)
    batches = read(store)
    assert (ids(batches), sum(batch.out_of_scope for batch in batches), total(batches)) == (["r0"], 3, 4)
    (found,) = store.workloads(silent)
    assert (found.records, found.tools, store.unreadable) == (1, ["look_up"], {"no_model_call": 3})


def test_a_damaged_line_or_span_costs_no_other(tmp_path: Path) -> None:
    """Of what is refused, only what is ours or may be ours counts."""
    broken = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": '[{"role": "user", "par'}
    whose = {"flywheel.workload_id": "router", "flywheel.client_id": "acme"}
    spans = [
        traced(0),
        {"attributes": [{"key": "a", "value": {"intValue": "many"}}]},
        span(broken | whose),
        span(broken | whose | {"flywheel.client_id": "other"}),
        traced(1),
    ]
    path = tmp_path / "traces.jsonl"
    lines = [json.dumps(document(spans)), '{"resourceSpans": [', json.dumps(document([traced(2)]))]
    path.write_text("\n".join(lines))
    batches = read(FileLogStore(path))
    refused = [(refusal.line, refusal.reason) for batch in batches for refusal in batch.refused]
    assert ids(batches) == ["r0", "r1", "r2"]
    assert refused == [(1, "bad_span"), (1, "unmappable_call"), (2, "bad_document")]
    cut = batches[0].refused[1]
    assert "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT" in cut.detail
    assert cut.record["span"]["attributes"][1]["key"] == "gen_ai.input.messages"
    assert total(batches) == 7


def test_a_line_may_be_longer_than_a_record_but_a_span_may_not(tmp_path: Path) -> None:
    long = record(1, request={"messages": [{"role": "user", "content": "x" * 5_000}]})
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps(document([*(traced(i + 2) for i in range(9)), as_span(long)])))
    batches = read(FileLogStore(path, max_record_bytes=2_000))
    assert len(ids(batches)) == 9
    assert [refusal.reason for refusal in batches[0].refused] == ["too_large"]


def test_workload_and_client_come_from_the_attributes_that_are_named(tmp_path: Path) -> None:
    said = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": "[]",
        "app.route": "refunds",
        "app.tenant": 7,
    }
    path = tmp_path / "traces"
    path.write_text(json.dumps(document([span(said)], SERVICE)))
    usual = FileLogStore(path).workloads(silent)
    assert [(w.workload_id, w.client_id) for w in usual] == [(None, "shop")]
    labels = Labels(workload=("app.node", "app.route", "service.name"), client=("app.tenant",))
    named = FileLogStore(path, labels=labels).workloads(silent)
    assert [(w.workload_id, w.client_id) for w in named] == [("refunds", "7")]


def test_the_window_and_the_newest_go_by_the_begin_of_the_span(tmp_path: Path) -> None:
    path = tmp_path / "traces"
    path.write_text(json.dumps(document([traced(i) for i in range(6)])))
    until = datetime.fromtimestamp(BEGIN + 5, UTC)
    assert ids(read(FileLogStore(path), until=until, limit=2)) == ["r3", "r4"]


@pytest.mark.parametrize("in_a_bucket", [False, True])
def test_an_export_of_langfuse_is_read_as_what_it_observed(tmp_path: Path, in_a_bucket: bool) -> None:
    """The UI's exports have names in camel case, those to a bucket in snake case and parameters as text."""
    observed: list[dict[str, Any]] = [
        {
            "id": f"o{i}",
            "traceId": f"t{i}",
            "type": "GENERATION" if i else "SPAN",
            "startTime": f"2025-06-15T15:06:4{i}.000Z",
            "endTime": f"2025-06-15T15:06:4{i}.500Z",
            "providedModelName": "large",
            "modelParameters": {"temperature": 0},
            "input": [{"role": "user", "content": "hello"}],
            "output": "hi",
            "usageDetails": {"input": 5},
            "metadata": {"workload_id": "router", "client_id": "acme"},
        }
        for i in range(3)
    ]
    observed[2]["input"] = {"template": "x"}
    if in_a_bucket:
        names = {"traceId": "trace_id", "startTime": "start_time", "endTime": "end_time"}
        names |= {"providedModelName": "provided_model_name", "usageDetails": "usage_details"}
        observed = [{names.get(key, key): value for key, value in row.items()} for row in observed]
    lines = [*map(json.dumps, observed), '{"id": ']
    path = tmp_path / "export.jsonl"
    path.write_text("\n".join(lines))
    batches = read(FileLogStore(path))
    (row,) = rows(batches)
    assert (row["id"], row["latency_ms"], row["tokens_in"]) == ("o1", 500.0, 5)
    assert json.loads(row["request"])["model"] == "large"
    refused = [(refusal.line, refusal.reason) for batch in batches for refusal in batch.refused]
    assert refused == [(3, "unmappable_call"), (4, "not_json")]
    assert (batches[0].out_of_scope, batches[0].refused[0].record["observation"]["id"]) == (1, "o2")
