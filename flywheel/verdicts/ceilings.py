"""How well the production model agrees with itself.

No candidate can agree with an answer that production itself would not give again. Asking it again says so best; else
the log does, where requests were asked more than once; else it is assumed to always agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flywheel.analysis import Bounds, Ceiling
from flywheel.results import EvalItem
from flywheel.verdicts.contenders import Standard
from flywheel.verdicts.estimates import Mean, Scored, mean_of

Answers = Sequence[Mapping[str, Any]]


def repeats_scored(
    repeated: Iterable[tuple[EvalItem, Answers]], score: Callable[[EvalItem, Mapping[str, Any]], float | None]
) -> Scored:
    """Agreement of production's other answers to a request with the first, which stands as the reference.

    Each request counts once, however often it was asked: its answers share its weight.
    """
    values: list[float | None] = []
    clusters: list[str] = []
    weights: list[float] = []
    for item, others in repeated:
        for other in others:
            values.append(score(item, other))
            clusters.append(item.cluster)
            weights.append(1 / len(others))
    return Scored(values, clusters, weights)


def standard_of(
    metric: str, replayed: Scored | None, repeats: Scored | None, min_repeats: int, level: float = 0.95
) -> Standard:
    """The best there is: replayed, from the log's repeats (of at least `min_repeats` requests), or assumed to be 1."""
    tail = (1 - level) / 2
    if replayed is not None and (mean := mean_of(replayed)) is not None:
        return Standard(_ceiling(metric, mean, "replayed", tail), replayed=replayed)
    if repeats is not None and len(set(repeats.clusters)) >= min_repeats:
        mean = mean_of(repeats)
        if mean is not None:
            return Standard(_ceiling(metric, mean, "teacher_noise", tail), noise=mean)
    return Standard(Ceiling(metric, 1.0, 0, "assumed"))


def _ceiling(metric: str, mean: Mean, source: Any, tail: float) -> Ceiling:
    return Ceiling(metric, mean.value, mean.n, source, Bounds(*mean.bounds(tail)))
