"""What every log store must do. A test module derives from the suite and provides the `store_of` fixture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from blocks.ports import LogBatch, LogQuery, LogStore
from flywheel.curation.schema import EXTRACTED
from flywheel.errors import DataError
from flywheel.progress import silent

StoreOf = Callable[[Sequence[Any]], LogStore]
BEGIN = 1_750_000_000


def record(number: int = 0, **fields: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": f"r{number}",
        "timestamp": BEGIN + number,
        "workload_id": "router",
        "client_id": "acme",
        "request": {
            "messages": [{"role": "user", "content": f"question {number}"}],
            "tools": [{"type": "function", "function": {"name": "look_up"}}],
        },
        "response": {"choices": [{"message": {"role": "assistant", "content": f"answer {number}"}}]},
    }
    return {k: v for k, v in (values | fields).items() if v is not ...}


def calling(tool: str) -> dict[str, Any]:
    """An answer that calls a tool."""
    call = {"id": "c", "type": "function", "function": {"name": tool, "arguments": "{}"}}
    return {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [call]}}]}


def query(**fields: Any) -> LogQuery:
    return LogQuery(**{"workload_id": "router", "client_id": "acme"} | fields)


def read(store: LogStore, **fields: Any) -> list[LogBatch]:
    return list(store.read(query(**fields), silent))


def rows(batches: Sequence[LogBatch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.records.to_pylist()]


def ids(batches: Sequence[LogBatch]) -> list[str]:
    return sorted(row["id"] for row in rows(batches))


def total(batches: Sequence[LogBatch]) -> int:
    return sum(b.records.num_rows + len(b.refused) + b.out_of_scope + b.over_limit for b in batches)


class LogStoreContract:
    """The claims."""

    def test_batches_have_the_extracted_schema_and_payloads_as_logged(self, store_of: StoreOf) -> None:
        batches = read(
            store_of([record(1, latency_ms=12.5, tokens_in=3, description="d", conversation_id="c")])
        )
        assert all(batch.records.schema.equals(EXTRACTED) for batch in batches)
        (row,) = rows(batches)
        logged = record(1)
        assert msgspec.json.decode(row["request"]) == logged["request"]
        assert msgspec.json.decode(row["response"]) == logged["response"]
        assert (row["id"], row["timestamp"], row["conversation_id"]) == ("r1", BEGIN + 1.0, "c")
        assert (row["latency_ms"], row["tokens_in"], row["tokens_out"], row["description"]) == (
            12.5,
            3,
            None,
            "d",
        )
        assert row["extra"] is None

    def test_ids_match_whole_and_exactly(self, store_of: StoreOf) -> None:
        """A search that takes ids apart into words would mix `router` with `router-2`."""
        others = ["router-2", "Router", "rout", "router ", "../../etc/passwd", "a/b c:ü", "<script>"]
        store = store_of([record(0), *(record(i + 1, workload_id=name) for i, name in enumerate(others))])
        assert ids(read(store)) == ["r0"]
        for i, name in enumerate(others):
            assert ids(read(store, workload_id=name)) == [f"r{i + 1}"]

    def test_every_record_is_accounted_for(self, store_of: StoreOf) -> None:
        logged = [record(i, client_id="acme" if i % 3 else "other") for i in range(30)]
        batches = read(store_of(logged), limit=5)
        assert total(batches) == 30
        assert sum(batch.out_of_scope for batch in batches) == 10
        assert sum(batch.over_limit for batch in batches) == 15

    def test_a_limit_keeps_the_newest_whatever_the_order_and_form_of_times(self, store_of: StoreOf) -> None:
        """Milliseconds, seconds and ISO 8601 side by side must not decide what is newest."""
        forms = [
            lambda t: t,
            lambda t: t * 1000,
            lambda t: datetime.fromtimestamp(t, UTC).isoformat(),
            lambda t: datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            lambda t: str(t),
        ]
        logged = [record(i, timestamp=forms[i % len(forms)](BEGIN + i)) for i in range(20)]
        for order in (logged, logged[::-1]):
            assert ids(read(store_of(order), limit=4)) == ["r16", "r17", "r18", "r19"]

    def test_times_come_out_as_seconds_in_utc(self, store_of: StoreOf) -> None:
        logged = [
            record(0, timestamp="2025-06-15T17:06:40+02:00"),
            record(1, timestamp=(BEGIN + 0.25) * 1000),
        ]
        times = {row["id"]: row["timestamp"] for row in rows(read(store_of(logged)))}
        assert times == {"r0": BEGIN + 0.0, "r1": BEGIN + 0.25}

    def test_a_window_has_its_begin_and_not_its_end(self, store_of: StoreOf) -> None:
        since, until = (datetime.fromtimestamp(BEGIN + second, UTC) for second in (3, 6))
        batches = read(store_of([record(i) for i in range(10)]), since=since, until=until)
        assert ids(batches) == ["r3", "r4", "r5"]
        assert total(batches) == 10

    def test_a_share_of_the_traffic_is_the_same_records_each_time(self, store_of: StoreOf) -> None:
        logged = [record(i) for i in range(400)]
        half = ids(read(store_of(logged), traffic_share=0.5))
        assert half == ids(read(store_of(logged[::-1]), traffic_share=0.5))
        assert 140 < len(half) < 260
        assert set(ids(read(store_of(logged), traffic_share=0.25))) < set(half)

    @pytest.mark.parametrize("sampling", ["uniform", "stratified"])
    def test_a_sample_is_the_same_whatever_the_order_and_is_not_the_newest(
        self, store_of: StoreOf, sampling: str
    ) -> None:
        logged = [record(i) for i in range(60)]
        batches = read(store_of(logged), limit=20, sampling=sampling)
        chosen = ids(batches)
        assert chosen == ids(read(store_of(logged[::-1]), limit=20, sampling=sampling))
        assert len(chosen) == 20
        assert (sum(batch.over_limit for batch in batches), total(batches)) == (40, 60)
        assert 2 < len({f"r{i}" for i in range(30)} & set(chosen)) < 18

    def test_a_stratified_sample_keeps_rare_tools(self, store_of: StoreOf) -> None:
        """Ten thousand calls of one tool must not push out the three of another, as the newest would."""
        logged = [record(i, response=calling("rare" if i < 3 else "usual")) for i in range(120)]
        kept = ids(read(store_of(logged), limit=20, sampling="stratified"))
        assert {"r0", "r1", "r2"} < set(kept)
        assert len(kept) == 20
        assert not {"r0", "r1", "r2"} & set(ids(read(store_of(logged), limit=20)))

    def test_a_share_and_a_limit_together_choose_within_the_share(self, store_of: StoreOf) -> None:
        logged = [record(i) for i in range(200)]
        share = ids(read(store_of(logged), traffic_share=0.3))
        batches = read(store_of(logged), traffic_share=0.3, limit=10)
        newest = sorted(share, key=lambda name: int(name[1:]))[-10:]
        assert ids(batches) == sorted(newest)
        assert total(batches) == 200

    def test_identifiers_are_data_whatever_they_hold(self, store_of: StoreOf) -> None:
        names = [
            "*",
            '" OR "1"="1',
            "rou*",
            "?",
            "a AND b",
            "\\",
            "x" * 600,
            "{{template}}",
            "$where",
            "\u202e",
        ]
        store = store_of([record(i, workload_id=name) for i, name in enumerate(names)])
        for i, name in enumerate(names):
            assert ids(read(store, workload_id=name)) == [f"r{i}"]
        assert {summary.workload_id for summary in store.workloads(silent)} == set(names)

    def test_documents_with_missing_parts_are_records_all_the_same(self, store_of: StoreOf) -> None:
        """What is missing in them is for validation to judge, with a reason for each."""
        logged = [record(0, request=...), record(1, response=None), record(2, timestamp=...), record(3)]
        found = {row["id"]: row for row in rows(read(store_of(logged)))}
        assert set(found) == {"r0", "r1", "r2", "r3"}
        assert (found["r0"]["request"], found["r1"]["response"], found["r2"]["timestamp"]) == (
            None,
            None,
            None,
        )

    def test_averages_are_over_the_records_that_have_the_figure(self, store_of: StoreOf) -> None:
        logged = [record(0, latency_ms=10, tokens_in=3), record(1, latency_ms=20.0), record(2)]
        (found,) = store_of(logged).workloads(silent)
        assert (found.average_latency_ms, found.average_tokens_in, found.average_tokens_out) == (15, 3, None)

    def test_records_that_may_be_ours_but_lack_an_id_are_refused_with_a_reason(
        self, store_of: StoreOf
    ) -> None:
        logged = [
            record(0, workload_id=...),
            record(1, client_id=None),
            record(2, workload_id=..., client_id="other"),
            record(3, workload_id="other", client_id=...),
            record(4),
        ]
        batches = read(store_of(logged))
        refused = sorted(
            (refusal.record["id"], refusal.reason) for batch in batches for refusal in batch.refused
        )
        assert refused == [("r0", "missing_workload_id"), ("r1", "missing_client_id")]
        assert ids(batches) == ["r4"]
        assert total(batches) == 5

    def test_unknown_fields_and_misfits_are_kept(self, store_of: StoreOf) -> None:
        (row,) = rows(read(store_of([record(0, region={"name": "eu"}, latency_ms="fast", tokens_in=-1)])))
        assert msgspec.json.decode(row["extra"]) == {
            "region": {"name": "eu"},
            "latency_ms": "fast",
            "tokens_in": -1,
        }
        assert row["latency_ms"] is None

    @pytest.mark.parametrize(
        "when", [0, 12, "1970-01-01T00:00:00Z", 32_503_680_000, "3000-01-01", "soon", [1], True]
    )
    def test_a_time_that_cannot_be_right_is_kept_aside_and_never_guessed(
        self, store_of: StoreOf, when: Any
    ) -> None:
        (row,) = rows(read(store_of([record(0, timestamp=when)])))
        assert row["timestamp"] is None
        assert msgspec.json.decode(row["extra"]) == {"timestamp": when}

    def test_workloads_are_listed_largest_first_with_what_they_hold(self, store_of: StoreOf) -> None:
        logged = [record(i) for i in range(3)]
        logged += [record(9, workload_id="faq", request={"messages": [], "tools": None}, timestamp="no time")]
        logged += [record(10, workload_id=...), record(11, workload_id="")]
        first, *others = store_of(logged).workloads(silent)
        assert (first.workload_id, first.client_id, first.records, first.tools) == (
            "router",
            "acme",
            3,
            ["look_up"],
        )
        assert (first.first, first.last) == ("2025-06-15T15:06:40Z", "2025-06-15T15:06:42Z")
        assert [(w.workload_id, w.records, w.first) for w in others] == [
            (None, 2, "2025-06-15T15:06:50Z"),
            ("faq", 1, None),
        ]
        assert first.share_without_workload_id == pytest.approx(2 / 6)

    def test_the_share_without_a_workload_is_of_each_clients_own_records(self, store_of: StoreOf) -> None:
        logged = [record(i, workload_id=...) for i in range(3)] + [record(3)]
        logged += [record(4, client_id="other", workload_id="faq"), record(5, client_id=..., workload_id=...)]
        found = store_of(logged).workloads(silent)
        shares = {(w.workload_id, w.client_id): w.share_without_workload_id for w in found}
        assert shares == {
            (None, "acme"): 0.75,
            ("router", "acme"): 0.75,
            ("faq", "other"): 0.0,
            (None, None): 1.0,
        }

    def test_an_empty_log_is_an_error_that_says_so(self, store_of: StoreOf) -> None:
        with pytest.raises(DataError):
            read(store_of([]))
