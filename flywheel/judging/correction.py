"""A judge's mean score, corrected for the error that ratings by people reveal.

A judge rates everything, people a part of it. The judge's mean over all is precise and may be off; the mean
difference between people and judge over what both rated says by how much. Prediction-powered inference adds the two,
with an interval that is right however bad the judge is. The weight of the judge is tuned so that a useless judge
counts for nothing and the interval is never much wider than that of the people's ratings alone.

Sources: Angelopoulos et al. 2023, "Prediction-powered inference", Science 382; Angelopoulos, Duchi and Zrnic 2023,
"PPI++: efficient prediction-powered inference", arXiv:2311.01453 (the weight). Unlike them: Student's t for few
labels, items of one cluster counted together, a degree of freedom for the tuned weight, and one pseudo-observation to
either side, so that a handful of ratings that all agree do not come out as certainty.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from flywheel.evaluation.statistics import normal_quantile, t_quantile
from flywheel.findings.analysis import Bounds

FEWEST_LABELS = 2
PSEUDO = 0.5
"""Sum of squares of two errors of one half, one to each side."""


def corrected_mean(
    judged: Sequence[float],
    people: Sequence[float | None],
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> tuple[float, Bounds] | None:
    """The mean that people would have given, with its interval within [0, 1].

    Args:
        judged: The judge's score of each item, in [0, 1], shape (n,).
        people: The score by a person in the same order, None where there is none. Which items they rated must not
            depend on how they would be rated.
        clusters: Name of the group of dependent items each belongs to; None: all are independent.
        level: Confidence level, a fraction.

    Returns: None with fewer than two items that a person rated, or all of them in one cluster.
    """
    if len(judged) != len(people):
        raise ValueError(f"{len(judged)} scores of the judge cannot be paired with {len(people)} of people")
    groups: Sequence[Hashable] = list(range(len(judged))) if clusters is None else clusters
    labelled = [i for i, label in enumerate(people) if label is not None]
    rest = [i for i, label in enumerate(people) if label is None]
    of_labelled = [groups[i] for i in labelled]
    if len(labelled) < FEWEST_LABELS or len(set(of_labelled)) < FEWEST_LABELS:
        return None
    y = [float(people[i] or 0.0) for i in labelled]
    f = [float(judged[i]) for i in labelled]
    f_rest = [float(judged[i]) for i in rest]
    weight = _weight_of_judge(y, f, f_rest)
    errors = [a - weight * b for a, b in zip(y, f, strict=True)]
    value = weight * _mean(f_rest) + _mean(errors) if rest else _mean(y)
    # A pseudo-observation at either side, as in an adjusted Wald interval, and a degree of freedom for the weight.
    clusters_seen = len(set(of_labelled))
    variance = _variance_of_mean(errors, of_labelled) + PSEUDO / len(errors) ** 2
    if weight:
        variance *= (clusters_seen - 1) / max(1, clusters_seen - 2)
    if rest and weight:
        variance += weight**2 * _variance_of_mean(f_rest, [groups[i] for i in rest])
    half = t_quantile(level, clusters_seen - 1) * math.sqrt(variance)
    value = min(1.0, max(0.0, value))
    return value, Bounds(max(0.0, value - half), min(1.0, value + half))


def with_settled(
    corrected: tuple[float, Bounds], asked: int, settled: Sequence[float], level: float = 0.95
) -> tuple[float, Bounds]:
    """The corrected mean of what was asked, joined with scores that are certain, as the mean of all.

    What share of the items can be settled varies from sample to sample too, which widens the interval.
    """
    value, bounds = corrected
    share = asked / (asked + len(settled))
    certain = _mean(settled)
    moves = (
        normal_quantile(level) ** 2 * (value - certain) ** 2 * share * (1 - share) / (asked + len(settled))
    )
    mean = share * value + (1 - share) * certain
    low = mean - math.sqrt((share * (value - bounds.low)) ** 2 + moves)
    high = mean + math.sqrt((share * (bounds.high - value)) ** 2 + moves)
    return mean, Bounds(max(0.0, low), min(1.0, high))


def _weight_of_judge(y: list[float], f: list[float], f_rest: list[float]) -> float:
    """The weight, 0 to 1, with which the judge's scores help most; all of both lists give its variance."""
    if not f_rest:
        return 0.0
    every = f + f_rest
    mean = _mean(every)
    variance = math.fsum((value - mean) ** 2 for value in every) / len(every)
    if variance == 0:
        return 0.0
    mean_y, mean_f = _mean(y), _mean(f)
    covariance = math.fsum((a - mean_y) * (b - mean_f) for a, b in zip(y, f, strict=True)) / len(y)
    return min(1.0, max(0.0, covariance / ((1 + len(f) / len(f_rest)) * variance)))


def _variance_of_mean(x: Sequence[float], groups: Sequence[Hashable]) -> float:
    """Of the mean, cluster-robust: G/(G-1) Σ_g (Σ_i (x_i - mean))² / n²; 0 with a single group."""
    mean = _mean(x)
    residuals: dict[Hashable, float] = {}
    for value, group in zip(x, groups, strict=True):
        residuals[group] = residuals.get(group, 0.0) + value - mean
    count = len(residuals)
    if count < 2:
        return 0.0
    return count / (count - 1) * math.fsum(r * r for r in residuals.values()) / len(x) ** 2


def _mean(x: Sequence[float]) -> float:
    return math.fsum(x) / len(x)
