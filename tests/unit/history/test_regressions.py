from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.findings.analysis import Regression
from flywheel.history.regressions import best_before, digests_of, regression_of, scores_of_run
from flywheel.results import CandidateResult, EvalItem, Evaluation, RunResult, Score
from flywheel.verdicts.contenders import ItemFrame
from tests.unit.evaluation.cases import item, text

METRIC = "exact_match"
ITEMS = [item(text(f"answer {n}"), f"i{n}") for n in range(60)]
FRAME = ItemFrame.of(ITEMS)


def against_last(
    now: dict[str, float | None], then: dict[str, float | None], frame: ItemFrame = FRAME
) -> Regression:
    found = regression_of("a", "base-eval", METRIC, "last", "run-1", now, then, frame)
    assert found is not None
    return found


def right(count: int) -> dict[str, float | None]:
    return {f"i{n}": float(n < count) for n in range(60)}


def test_a_score_that_fell_beyond_chance_regressed_and_one_that_rose_improved() -> None:
    fell = against_last(right(30), right(55))
    assert fell.outcome == "regressed"
    assert (fell.then, fell.now) == (pytest.approx(55 / 60), pytest.approx(0.5))
    assert fell.difference.value == pytest.approx(-25 / 60)
    assert fell.difference.interval is not None
    assert fell.difference.interval.high < 0
    assert against_last(right(55), right(30)).outcome == "improved"


def test_a_small_change_is_not_called_a_regression() -> None:
    assert against_last(right(54), right(55)).outcome == "no_difference_seen"


def test_only_items_that_both_asked_and_scored_count() -> None:
    now, then = right(30), right(60)
    now["i59"], then["i0"] = None, None
    shared = FRAME.kept({f"i{n}" for n in range(50, 60)})
    assert against_last(now, then).difference.n == 58
    assert against_last(now, then, shared).difference.n == 9
    assert regression_of("a", "base-eval", METRIC, "last", "r", now, then, FRAME.kept(set())) is None


@given(st.integers(0, 60), st.integers(0, 60))
def test_swapping_the_runs_swaps_the_outcome(a: int, b: int) -> None:
    forth, back = against_last(right(a), right(b)), against_last(right(b), right(a))
    opposite = {"regressed": "improved", "improved": "regressed", "no_difference_seen": "no_difference_seen"}
    assert back.outcome == opposite[forth.outcome]


def run(run_id: str, day: int, *scores: tuple[str, float | None], **fields: Any) -> RunResult:
    candidates = [
        CandidateResult(
            candidate=name,
            model_name=name,
            status="completed",
            evaluations=[
                Evaluation(
                    "base-eval",
                    name,
                    primary=METRIC,
                    scores={METRIC: Score(value, 60, 0)},
                    predictions=f"predictions of {run_id} {name}",
                )
            ],
        )
        for name, value in scores
    ]
    values: dict[str, Any] = {"status": "completed", "eval_set": "set-a", "candidates": candidates} | fields
    return RunResult(
        run_id=run_id, workload_id="w", client_id="c", started_at=f"2026-01-{day:02}T00:00:00+00:00", **values
    )


def test_the_best_so_far_is_of_an_earlier_run_on_the_same_kept_items() -> None:
    today = run("today", 9, ("a", 0.5))
    earlier = [
        run("r1", 1, ("a", 0.8)),
        run("r2", 2, ("a", 0.7), ("b", 0.8)),  # as good, but later
        run("other set", 3, ("a", 0.99), eval_set="set-b"),
        run("failed", 4, ("a", 0.99), status="failed"),
        run("later", 10, ("a", 0.99)),
        run("unscored", 5, ("a", None)),
        today,
    ]
    found = best_before(today, earlier, METRIC)
    assert found is not None
    assert (found.run_id, found.candidate, found.score) == ("r1", "a", 0.8)
    assert best_before(today, earlier, "rouge_l") is None
    assert [score.candidate for score in scores_of_run(earlier[1], METRIC)] == ["a", "b"]


def test_an_item_whose_reference_changed_is_another_item() -> None:
    one, other = EvalItem("i", {"m": 1}, text("a"), "c"), EvalItem("i", {"m": 1}, text("b"), "c")
    assert digests_of([one]) != digests_of([other])
    assert digests_of([one]) == digests_of([EvalItem("i", {"m": 1}, text("a"), "another", weight=3)])
