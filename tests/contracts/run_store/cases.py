"""What every run store must do. A test module derives from the suite and provides the fixtures.

`store` is empty at the start of each test. `opening` is source code that opens the same store again in another
process: statements that leave it in the variable `store`.
"""

from __future__ import annotations

import math
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blocks.ports import LedgerEntry, RunStore
from flywheel.analysis import Analysis, Bounds, Costs, Difference, Holdout, Verdict
from flywheel.errors import DataError
from flywheel.results import (
    CandidateResult,
    Customization,
    Evaluation,
    Interval,
    JudgeRun,
    RunResult,
    Score,
    Usage,
)
from flywheel.retention import expendable

ROOT = Path(__file__).resolve().parents[2]


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


def scored(
    run_id: str, day: int, value: float | None, *, eval_set: str = "set-a", **fields: Any
) -> RunResult:
    """A completed run of one candidate with one evaluation whose primary score is `value`."""
    score = Score(value=value, n=20, unscored=0, interval=Interval(0.0, 1.0))
    result = CandidateResult(
        candidate="small",
        model_name="small",
        status="completed",
        evaluations=[evaluation(scores={"exact_match": score})],
    )
    values = {"status": "completed", "candidates": [result], "eval_set": eval_set} | fields
    return run(run_id, started_at=f"2025-09-{day:02d}T10:00:00+00:00", **values)


def judged(judge_id: str = "judged-1", **fields: Any) -> JudgeRun:
    values: dict[str, Any] = {
        "id": judge_id,
        "run_id": "run-1",
        "candidate": "small-tuned",
        "eval_type": "base-eval",
        "judge": "large-judge",
        "created_at": "2025-09-01T12:00:00Z",
        "scores": {"similarity": Score(value=0.8, n=20, unscored=0, interval=Interval(0.7, math.inf))},
        "details": {"prompt": "Grüße \ud83d"},
    }
    return JudgeRun(**values | fields)


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
    """The suite."""

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

    def test_what_was_concluded_and_what_is_left_for_later_runs_come_back(self, store: RunStore) -> None:
        difference = Difference(-0.01, 200, Bounds(-0.03, 0.002), p_value=0.3)
        verdict = Verdict(
            "small", "base-eval", "exact_match", "surfaced", 0.05, difference, "Grüße \ud83d", score=0.99
        )
        analysis = Analysis(
            conclusion="small can be considered",
            verdicts=[verdict],
            costs=[Costs("small", "base-eval", missing=["price of small"])],
            holdout=Holdout("set-a", items=20, uses=3, budget=25),
            notes=["a note"],
        )
        kept = run(analysis=analysis, memory="memory-0123456789abcdef")
        store.save_run(kept)
        assert store.load_run("run-1") == kept

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

    def test_a_history_has_an_id_that_stays(self, store: RunStore) -> None:
        identity = store.identity()
        assert re.fullmatch("[0-9a-f]{16}", identity)
        store.save_run(run())
        store.close()
        assert store.identity() == identity

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

    def test_a_run_is_found_by_exactly_its_id(self, store: RunStore) -> None:
        store.save_run(run("run-10"))
        assert store.find_run("run-1") is None
        store.save_run(run("run-1"))
        assert store.find_run("run-1") == run("run-1")

    @pytest.mark.parametrize("text", ["half a pair \ud83d", "nul \x00", "x" * 100_000, "$where.a.b", ""])
    def test_any_text_may_stand_anywhere(self, store: RunStore, text: str) -> None:
        # Error texts repeat what models and servers wrote; names come from users.
        tuned = Customization(job=text, error=text, adapter=text)
        result = CandidateResult(
            candidate=text, model_name=text, status="failed", error=text, customization=tuned
        )
        result = msgspec.structs.replace(
            result, evaluations=[evaluation(model=text, error=text, overrides={f"{text}.$k": text})]
        )
        whole = run(
            client_id=text, error=text, production_model=text, candidates=[result], config={text: [text]}
        )
        store.save_run(whole)
        assert store.list_runs(client_id=text) == [whole]
        noted = entry(name=text.replace("\ud83d", "?"), details={text: text})  # names are made by us
        store.record_resource(noted)
        assert store.allocated() == [noted]
        store.strike_resource("deployment", noted.name)
        assert store.allocated() == []

    def test_integers_and_floats_keep_what_they_are(self, store: RunStore) -> None:
        numbers = {"big": 2**80, "negative": -(2**63), "one": 1.0, "small": 5e-324, "infinite": math.inf}
        store.save_run(run(config=numbers))
        found = store.load_run("run-1").config
        assert found == numbers
        assert [type(value) for value in found.values()] == [int, int, float, float, float]

    def test_a_write_that_fails_leaves_what_was_there(self, store: RunStore) -> None:
        store.save_run(run())
        twice = run(status="completed", candidates=[run().candidates[0], run().candidates[0]])
        with pytest.raises(DataError):
            store.save_run(twice)
        assert store.list_runs() == [run()]
        store.save_run(run(status="completed"))
        assert store.list_runs() == [run(status="completed")]

    def test_what_is_handed_in_is_not_changed(self, store: RunStore) -> None:
        given, noted, said = run(), entry(), judged()
        store.save_run(given)
        store.record_resource(noted)
        store.save_judge_run(said)
        store.update_run("run-1", lambda found: msgspec.structs.replace(found, message="other"))
        assert (given, noted, said) == (run(), entry(), judged())

    def test_an_update_is_made_from_what_is_stored(self, store: RunStore) -> None:
        store.save_run(run())
        made = store.update_run(
            "run-1", lambda found: msgspec.structs.replace(found, message=found.message + "!")
        )
        assert made.message == "1 of 2 candidates scored!"
        assert store.load_run("run-1") == made

    def test_an_update_of_nothing_is_an_error_and_one_that_fails_changes_nothing(
        self, store: RunStore
    ) -> None:
        with pytest.raises(DataError, match="no run"):
            store.update_run("run-1", lambda found: found)
        store.save_run(run())
        with pytest.raises(ZeroDivisionError):
            store.update_run("run-1", lambda found: msgspec.structs.replace(found, message=str(1 / 0)))
        assert store.list_runs() == [run()]

    def test_no_update_is_lost_among_threads(self, store: RunStore) -> None:
        store.save_run(run(candidates=[]))

        def add(number: int) -> None:
            result = CandidateResult(candidate=f"c{number}", model_name="small", status="completed")
            store.update_run(
                "run-1",
                lambda found: msgspec.structs.replace(found, candidates=[*found.candidates, result]),
            )

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(add, range(12)))
        names = {result.candidate for result in store.load_run("run-1").candidates}
        assert names == {f"c{number}" for number in range(12)}

    def test_two_processes_may_write_at_once_from_the_first_moment_on(
        self, store: RunStore, opening: str
    ) -> None:
        code = (
            f"{opening}\n"
            "import sys, msgspec\n"
            "from flywheel.results import CandidateResult\n"
            "from tests.contracts.run_store import entry, run\n"
            "who = sys.argv[1]\n"
            "for number in range(10):\n"
            "    store.save_run(run(f'run-{who}-{number}'))\n"
            "    store.save_run(run('shared', message=who))\n"
            "    store.record_resource(entry('shared'))\n"
            "    store.record_resource(entry(f'fw-{who}-{number}'))\n"
            "    if store.find_run('counted') is None: store.save_run(run('counted', candidates=[]))\n"
            "    assert len(store.load_run('shared').candidates) == 2\n"
            "print('begun', flush=True); sys.stdin.readline()\n"
            "for number in range(10):\n"
            "    one = CandidateResult(f'{who}-{number}', 'small', 'completed')\n"
            "    store.update_run('counted', lambda found: msgspec.structs.replace(\n"
            "        found, candidates=[*found.candidates, one]))\n"
            "store.close()\n"
        )
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", code, name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=ROOT,
                text=True,
            )
            for name in ("a", "b")
        ]
        for worker in workers:
            assert worker.stdout is not None
            worker.stdout.readline()  # both are through with the first part
        for worker in workers:
            _, errors = worker.communicate("go\n", timeout=120)
            assert worker.returncode == 0, errors
        assert len(store.list_runs(limit=1000)) == 22
        assert len(store.allocated()) == 21
        assert len(store.load_run("shared").candidates) == 2
        names = {result.candidate for result in store.load_run("counted").candidates}
        assert names == {f"{who}-{number}" for who in "ab" for number in range(10)}

    def test_all_runs_come_oldest_first_however_many(self, store: RunStore) -> None:
        assert list(store.all_runs()) == []
        for number in range(60):
            store.save_run(
                run(f"run-{number:02d}", started_at=f"2025-09-{number % 28 + 1:02d}", candidates=[])
            )
        ages = [(found.started_at, found.run_id) for found in store.all_runs()]
        assert len(ages) == 60
        assert ages == sorted(ages)

    def test_the_last_comparable_run_asked_the_same_items_and_scored(self, store: RunStore) -> None:
        for saved in (
            scored("oldest", 1, 0.5),
            scored("last", 2, 0.5),
            scored("other-items", 3, 0.5, eval_set="set-b"),
            scored("failed", 4, None, status="failed"),
            scored("unfinished", 5, 0.5, status="running"),
            scored("other-workload", 6, 0.5, workload_id="order-faq"),
            scored("other-client", 6, 0.5, client_id="acme-app"),
            scored("this", 7, 0.5),
            scored("later", 8, 0.5),
        ):
            store.save_run(saved)
        found = store.comparable_run(scored("this", 7, 0.5))
        assert found == scored("last", 2, 0.5)
        assert store.comparable_run(scored("oldest", 1, 0.5)) is None
        assert store.comparable_run(scored("not saved yet", 9, 0.5)) == scored("later", 8, 0.5)

    def test_a_run_that_does_not_know_its_items_is_comparable_to_none(self, store: RunStore) -> None:
        store.save_run(scored("old", 1, 0.5, eval_set=""))
        assert store.comparable_run(scored("new", 2, 0.5, eval_set="")) is None

    def test_the_best_score_so_far_comes_with_all_that_is_known_of_it(self, store: RunStore) -> None:
        for saved in (
            scored("first", 1, 0.75),
            scored("tie", 2, 0.75),
            scored("unscored", 3, None),
            scored("other-workload", 4, 1.0, workload_id="order-faq"),
            scored("other-items", 5, 0.875, eval_set="set-b"),
        ):
            store.save_run(saved)
        best = store.best_score("support-router", "acme-web", "exact_match", "set-a")
        assert best is not None
        assert (best.run_id, best.candidate) == ("first", "small")
        assert best.evaluation == scored("first", 1, 0.75).candidates[0].evaluations[0]
        anywhere = store.best_score("support-router", "acme-web", "exact_match")
        assert anywhere is not None
        assert anywhere.run_id == "other-items"
        assert store.best_score("support-router", "acme-web", "rouge_l") is None
        assert store.best_score("support-router", "nobody", "exact_match") is None

    def test_scores_of_an_evaluation_that_broke_off_and_of_a_replaced_run_are_not_the_best(
        self, store: RunStore
    ) -> None:
        store.save_run(scored("revised", 1, 1.0))
        store.save_run(scored("revised", 1, 0.25))
        store.save_run(scored("zero", 2, 0.0))
        broken = scored("broken", 3, 0.875)
        half = msgspec.structs.replace(broken.candidates[0].evaluations[0], error="stopped half-way")
        store.save_run(
            msgspec.structs.replace(
                broken, candidates=[msgspec.structs.replace(broken.candidates[0], evaluations=[half])]
            )
        )
        best = store.best_score("support-router", "acme-web", "exact_match")
        assert best is not None
        assert best.run_id == "revised"

    def test_judge_runs_are_kept_beside_their_run_and_outlive_its_saving(self, store: RunStore) -> None:
        store.save_judge_run(judged("judged-2", created_at="2025-09-02T12:00:00Z", error="half \ud83d"))
        store.save_judge_run(judged("judged-1", judge="another"))
        store.save_judge_run(judged("judged-1"))
        store.save_judge_run(judged("of another run", run_id="run-2"))
        store.save_run(run())
        store.save_run(run())
        assert store.judge_runs("run-1") == [
            judged("judged-1"),
            judged("judged-2", created_at="2025-09-02T12:00:00Z", error="half \ud83d"),
        ]
        assert store.judge_runs("run") == []

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
