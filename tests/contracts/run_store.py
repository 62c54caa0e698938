"""What every run store must do. A test module derives from the suite and provides the `store` fixture."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from blocks.ports import LedgerEntry, RunStore
from flywheel.errors import DataError
from flywheel.results import CandidateResult, Customization, Evaluation, Interval, RunResult, Score, Usage


def evaluation(**fields: Any) -> Evaluation:
    scores = {
        "exact_match": Score(value=0.5, n=18, unscored=2, interval=Interval(0.29, 0.71)),
        "rouge_l": Score(value=None, n=0, unscored=20),
        "one_item": Score(value=1.0, n=1, unscored=0, interval=Interval(-math.inf, math.inf)),
    }
    values: dict[str, Any] = {
        "eval_type": "base-eval",
        "model": "small",
        "primary": "exact_match",
        "scores": scores,
        "items": 20,
        "usage": Usage(answered=18, errors=2, tokens_in=4000, latency_ms_p95=812.5),
        "progress": 1.0,
        "overrides": {"temperature": 0.0, "stop": ["\n"]},
        "predictions": "predictions-0123456789abcdef",
    }
    return Evaluation(**values | fields)


def run(run_id: str = "run-1", started_at: str = "2025-09-01T10:00:00Z", **fields: Any) -> RunResult:
    tuned = CandidateResult(
        candidate="small-tuned",
        model_name="small",
        status="completed",
        evaluations=[evaluation(), evaluation(eval_type="customized-eval", model="small/tuned")],
        customization=Customization(job="job-1", status="completed", train_loss=0.1, adapter="adapters/1"),
    )
    failed = CandidateResult(
        candidate="broken", model_name="missing", status="failed", error="404: no such model"
    )
    values: dict[str, Any] = {
        "run_id": run_id,
        "workload_id": "support-router",
        "client_id": "acme-web",
        "status": "partial",
        "started_at": started_at,
        "message": "1 of 2 candidates scored",
        "funnel": {"lines": 800, "train": 300},
        "datasets": {"split": "split-0123456789abcdef"},
        "candidates": [tuned, failed],
        "config": {
            "data_split_config": {"eval_size": 20, "limit": None},
            "text": "Grüße \ud83d \x00 \x1b[31m",
        },
    }
    return RunResult(**values | fields)


def entry(name: str = "fw-1", **fields: Any) -> LedgerEntry:
    values: dict[str, Any] = {
        "run_id": "run-1",
        "kind": "deployment",
        "name": name,
        "platform": "local",
        "created_at": "2025-09-01T10:00:00Z",
        "details": {"port": 8000},
    }
    return LedgerEntry(**values | fields)


class RunStoreContract:
    """The suite. `store` is empty at the start of each test."""

    def test_a_run_comes_back_as_it_was_saved(self, store: RunStore) -> None:
        store.save_run(run())
        assert store.load_run("run-1") == run()

    def test_saving_a_run_again_replaces_it_and_all_below_it(self, store: RunStore) -> None:
        store.save_run(run())
        store.save_run(run())
        assert store.list_runs() == [run()]
        later = run(status="completed", finished_at="2025-09-01T11:00:00Z", candidates=run().candidates[:1])
        store.save_run(later)
        assert store.list_runs() == [later]

    def test_candidates_and_evaluations_keep_their_order(self, store: RunStore) -> None:
        backwards = [msgspec.structs.replace(run().candidates[0], candidate=name) for name in ("z", "a", "m")]
        store.save_run(run(candidates=backwards))
        assert [found.candidate for found in store.load_run("run-1").candidates] == ["z", "a", "m"]

    def test_one_model_may_be_two_candidates(self, store: RunStore) -> None:
        # A candidate's id is not its model's name: A and B of one model must not overwrite each other.
        twins = [
            msgspec.structs.replace(run().candidates[0], candidate=name) for name in ("small-a", "small-b")
        ]
        store.save_run(run(candidates=twins))
        assert store.load_run("run-1").candidates == twins

    def test_two_runs_of_the_same_second_are_two_runs(self, store: RunStore) -> None:
        store.save_run(run("run-1"))
        store.save_run(run("run-2"))
        assert {found.run_id for found in store.list_runs()} == {"run-1", "run-2"}

    def test_a_unique_prefix_of_an_id_is_enough(self, store: RunStore) -> None:
        store.save_run(run("abc-123"))
        store.save_run(run("abd-456"))
        assert store.load_run("abc").run_id == "abc-123"

    def test_a_whole_id_wins_over_longer_ones_that_begin_with_it(self, store: RunStore) -> None:
        store.save_run(run("abc"))
        store.save_run(run("abc-123"))
        assert store.load_run("abc").run_id == "abc"

    def test_an_ambiguous_prefix_is_an_error_that_lists_what_it_could_be(self, store: RunStore) -> None:
        store.save_run(run("abc-123"))
        store.save_run(run("abc-456"))
        with pytest.raises(DataError, match=r"abc-(123|456), abc-(123|456).*more of the id"):
            store.load_run("abc")

    def test_an_unknown_id_is_an_error_with_the_nearest_ids(self, store: RunStore) -> None:
        store.save_run(run("swift-otter"))
        store.save_run(run("brave-lion"))
        with pytest.raises(DataError, match="swift-otter"):
            store.load_run("swft-oter")

    def test_an_empty_store_says_so(self, store: RunStore) -> None:
        assert store.list_runs() == []
        with pytest.raises(DataError, match="empty"):
            store.load_run("anything")

    @pytest.mark.parametrize("run_id", ["%", "_", "run-_", "' OR 1=1 --", '{"$ne": null}', ".*"])
    def test_an_id_is_text_and_no_pattern(self, store: RunStore, run_id: str) -> None:
        store.save_run(run())
        with pytest.raises(DataError, match="no run"):
            store.load_run(run_id)

    def test_runs_are_listed_newest_first_up_to_the_limit(self, store: RunStore) -> None:
        for day in (2, 9, 5):
            store.save_run(run(f"run-{day}", started_at=f"2025-09-{day:02d}T10:00:00Z"))
        assert [found.run_id for found in store.list_runs()] == ["run-9", "run-5", "run-2"]
        assert [found.run_id for found in store.list_runs(limit=2)] == ["run-9", "run-5"]
        assert store.list_runs(limit=0) == []

    def test_runs_are_listed_of_one_workload_or_client(self, store: RunStore) -> None:
        store.save_run(run("run-1"))
        store.save_run(run("run-2", workload_id="order-faq"))
        store.save_run(run("run-3", client_id="acme-app"))
        assert {found.run_id for found in store.list_runs(workload_id="support-router")} == {"run-1", "run-3"}
        assert {found.run_id for found in store.list_runs(client_id="acme-web")} == {"run-1", "run-2"}
        assert [found.run_id for found in store.list_runs("order-faq", "acme-web")] == ["run-2"]
        assert store.list_runs("support") == []

    @pytest.mark.parametrize(
        "workload_id", ["../../etc/passwd", "a/b c:ü", "<script>", "'; DROP TABLE nims; --"]
    )
    def test_any_workload_id_is_stored_and_found(self, store: RunStore, workload_id: str) -> None:
        store.save_run(run(workload_id=workload_id))
        assert store.list_runs(workload_id) == [run(workload_id=workload_id)]

    def test_what_is_allocated_stays_in_the_ledger_until_it_is_struck_off(self, store: RunStore) -> None:
        store.record_resource(entry("fw-1"))
        store.record_resource(entry("fw-2", kind="fine-tune"))
        store.strike_resource("deployment", "fw-1")
        assert store.allocated() == [entry("fw-2", kind="fine-tune")]

    def test_the_ledger_may_be_written_and_struck_twice(self, store: RunStore) -> None:
        store.record_resource(entry())
        store.record_resource(entry(details={"port": 8001}))
        assert store.allocated() == [entry(details={"port": 8001})]
        store.strike_resource("deployment", "fw-1")
        store.strike_resource("deployment", "fw-1")
        assert store.allocated() == []

    def test_the_ledger_knows_whose_a_resource_is(self, store: RunStore) -> None:
        # A sweeper that frees everything would take the resources of runs that are alive.
        store.record_resource(entry("fw-1", run_id="run-1"))
        store.record_resource(entry("fw-2", run_id="run-2"))
        assert [found.name for found in store.allocated("run-2")] == ["fw-2"]
        assert store.allocated("run") == []

    def test_a_resource_may_be_noted_before_its_run_is_saved_and_outlives_its_saving(
        self, store: RunStore
    ) -> None:
        store.record_resource(entry())
        store.save_run(run())
        store.save_run(run())
        assert store.allocated("run-1") == [entry()]

    def test_threads_may_share_a_store(self, store: RunStore) -> None:
        def work(number: int) -> None:
            store.record_resource(entry(f"fw-{number}"))
            store.save_run(run(f"run-{number}"))
            assert store.load_run(f"run-{number}").run_id == f"run-{number}"
            store.strike_resource("deployment", f"fw-{number}")

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(24)))
        assert len(store.list_runs()) == 24
        assert store.allocated() == []
