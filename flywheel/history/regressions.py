"""A score against the same score of an earlier run, on the items that both asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from flywheel.findings.analysis import Regression
from flywheel.results import EvalItem, RunResult
from flywheel.retention import SCORED
from flywheel.verdicts.comparisons import paired_difference
from flywheel.verdicts.contenders import ItemFrame
from flywheel.verdicts.estimates import mean_of


class EarlierScore(msgspec.Struct, frozen=True):
    """One evaluation of an earlier run."""

    run_id: str
    candidate: str
    eval_type: str
    score: float
    predictions: str


def regression_of(
    candidate: str,
    eval_type: str,
    metric: str,
    against: Literal["last", "best"],
    run_id: str,
    now: Mapping[str, float | None],
    then: Mapping[str, float | None],
    shared: ItemFrame,
    level: float = 0.95,
) -> Regression | None:
    """Now minus then, item by item; None where no item has a score on both sides.

    Args:
        now, then: Scores by item id.
        shared: The items that both runs asked in the same words, with the same reference.
    """
    both = {name for name in shared.ids if now.get(name) is not None and then.get(name) is not None}
    frame = shared.kept(both)
    today, earlier = frame.scored(now), frame.scored(then)
    difference = paired_difference(today, earlier, level)
    if difference.value is None or difference.interval is None:
        return None
    outcome: Literal["regressed", "improved", "no_difference_seen"] = "no_difference_seen"
    if difference.interval.high < 0:
        outcome = "regressed"
    elif difference.interval.low > 0:
        outcome = "improved"
    mean_now, mean_then = mean_of(today), mean_of(earlier)
    assert mean_now is not None
    assert mean_then is not None
    return Regression(
        candidate, eval_type, metric, against, run_id, mean_then.value, mean_now.value, outcome, difference
    )


def best_before(run: RunResult, earlier: Iterable[RunResult], metric: str) -> EarlierScore | None:
    """The highest score under `metric` of a run that began before `run` and kept the same evaluation set.

    The earliest of equal ones.
    """
    best: EarlierScore | None = None
    for other in sorted(earlier, key=lambda other: (other.started_at, other.run_id)):
        if (
            other.run_id == run.run_id
            or other.status not in SCORED
            or other.eval_set != run.eval_set
            or other.started_at >= run.started_at
        ):
            continue
        for found in scores_of_run(other, metric):
            if best is None or found.score > best.score:
                best = found
    return best


def scores_of_run(run: RunResult, metric: str) -> list[EarlierScore]:
    """The evaluations of a run whose main score is `metric` and whose answers are stored."""
    return [
        EarlierScore(
            run.run_id, candidate.candidate, evaluation.eval_type, score.value, evaluation.predictions
        )
        for candidate in run.candidates
        for evaluation in candidate.evaluations
        if evaluation.primary == metric
        and evaluation.predictions is not None
        and (score := evaluation.scores.get(metric)) is not None
        and score.value is not None
    ]


def digests_of(items: Iterable[EvalItem]) -> dict[str, bytes]:
    """For each item a hash of what is asked and of the reference: equal ones can be compared across runs."""
    return {
        item.id: hashlib.sha256(
            msgspec.json.encode([item.request, item.response], order="deterministic")
        ).digest()
        for item in items
    }
