"""Old runs go, with all below them and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

from blocks.ports import RunStore
from flywheel.retention import expendable
from tests.contracts.run_store.cases import entry, judged, run, scored


class RemovesRuns:
    def test_a_removed_run_is_gone_with_all_below_it_and_no_other(self, store: RunStore) -> None:
        for name in ("run-1", "run-10"):
            store.save_run(scored(name, 1, 0.5))
            store.save_judge_run(judged(f"judged {name}", run_id=name))
        for _ in range(2):  # removing twice is no error
            assert store.remove_run("run-1")
            assert store.find_run("run-1") is None
            assert store.judge_runs("run-1") == []
            assert store.list_runs() == [scored("run-10", 1, 0.5)]
            assert len(store.judge_runs("run-10")) == 1
        best = store.best_score("support-router", "acme-web", "exact_match")
        assert best is not None
        assert best.run_id == "run-10"
        store.save_run(run())  # it may come again
        assert store.load_run("run-1") == run()

    def test_a_run_that_is_alive_is_not_removed(self, store: RunStore) -> None:
        store.save_run(run("run-1"))
        store.record_resource(entry(run_id="run-1"))
        store.save_run(run("run-2", status="running"))
        assert not store.remove_run("run-1")
        assert not store.remove_run("run-2")
        assert store.load_run("run-1") == run("run-1")
        store.strike_resource("deployment", "fw-1")
        assert store.remove_run("run-1")

    def test_history_is_cut_back_by_count_and_what_kept_runs_refer_to_stays(self, store: RunStore) -> None:
        for day in range(1, 9):
            store.save_run(scored(f"run-{day}", day, 0.75 if day == 2 else 0.5))
        store.record_resource(entry(run_id="run-4"))
        going = expendable(
            store.all_runs(), keep_newest=2, allocated={found.run_id for found in store.allocated()}
        )
        # 8 and 7 are the newest, 6 is what 7 is compared with, 4 holds a deployment, 3 is what that is compared
        # with, 2 has the best score.
        assert going == ["run-1", "run-5"]
        assert all(store.remove_run(run_id) for run_id in going)
        assert {found.run_id for found in store.all_runs()} == {f"run-{day}" for day in (2, 3, 4, 6, 7, 8)}
        best = store.best_score("support-router", "acme-web", "exact_match", "set-a")
        assert best is not None
        assert best.run_id == "run-2"
        for day in (7, 8):
            assert store.comparable_run(scored(f"run-{day}", day, 0.5)) == scored(
                f"run-{day - 1}", day - 1, 0.5
            )

    def test_history_is_cut_back_by_age(self, store: RunStore) -> None:
        for day in (1, 2, 20):
            store.save_run(scored(f"run-{day}", day, 0.5, eval_set=f"set-{day}"))
        start = datetime(2025, 9, 2, 10, tzinfo=UTC)
        assert expendable(store.all_runs(), started_before=start) == ["run-1"]
