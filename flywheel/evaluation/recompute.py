"""The scores of a finished evaluation, made again from its stored answers and held against those that were kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from flywheel.config.metrics import ArgumentConfig
from flywheel.evaluation.aggregate import scores_of
from flywheel.evaluation.scoring import METRICS, scored, uses_tools
from flywheel.results import EvalItem, Interval, Prediction, Score

ROUNDING = 1e-9
"""Difference of two scores that sums in another order may make."""


class Recomputed(msgspec.Struct, frozen=True):
    """One score of one evaluation. `again` is None where the stored files no longer hold what it was made of.

    `from_answers`: from the answers themselves; else from the single scores that a judge, a platform or a metric of the
    user's own gave, which are stored with the answers.
    """

    candidate: str
    eval_type: str
    metric: str
    kept: Score
    again: Score | None
    from_answers: bool

    @property
    def same(self) -> bool:
        """Whether value, interval, n and unscored came out as they were kept."""
        return self.again is not None and _same(self.kept, self.again)


def recomputed(
    candidate: str,
    eval_type: str,
    kept: Mapping[str, Score],
    items: Sequence[EvalItem],
    predictions: Sequence[Prediction],
    rules: Sequence[ArgumentConfig],
    level: float,
) -> list[Recomputed]:
    """Every score in `kept`, made again.

    Args:
        predictions: As they are stored, single scores included.
        rules: How single arguments compared.
        level: Confidence level of the intervals.
    """
    tools = uses_tools(items)
    of = {item.id: item for item in items}
    made = [_again(of[prediction.id], prediction, tools, rules) for prediction in predictions]
    found = scores_of(items, {prediction.id: prediction for prediction in made}, level)
    return [
        Recomputed(candidate, eval_type, metric, score, found.get(metric), metric in METRICS)
        for metric, score in kept.items()
    ]


def _again(
    item: EvalItem, prediction: Prediction, tools: bool, rules: Sequence[ArgumentConfig]
) -> Prediction:
    given = {metric: value for metric, value in prediction.scores.items() if metric not in METRICS}
    found = scored(item, prediction, tools, rules)
    return msgspec.structs.replace(found, scores=found.scores | given)


def _same(kept: Score, again: Score) -> bool:
    if (kept.n, kept.unscored) != (again.n, again.unscored):
        return False
    if not _close([kept.value, *_ends(kept.interval)], [again.value, *_ends(again.interval)]):
        return False
    if kept.by_traffic is None:  # as in runs that were kept before there was one
        return True
    if again.by_traffic is None:
        return False
    weighted, made = kept.by_traffic, again.by_traffic
    return _close([weighted.value, *_ends(weighted.interval)], [made.value, *_ends(made.interval)])


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (interval.low, interval.high) if interval else (None, None)


def _close(left: Sequence[float | None], right: Sequence[float | None]) -> bool:
    return all(
        a == b or (a is not None and b is not None and math.isclose(a, b, abs_tol=ROUNDING))
        for a, b in zip(left, right, strict=True)
    )
