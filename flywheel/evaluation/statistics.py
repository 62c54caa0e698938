"""How sure a mean score is, and how sure the difference of two is.

Scores lie in [0, 1] and most evaluation sets are small, with means near 1, where the textbook interval (mean ± 2
standard errors) is too short and leaves [0, 1]. So every mean gets a Wilson interval. It needs a count of independent
trials, which weights, clusters and scores other than 0/1 change; the count that gives the variance actually seen is
the effective sample size.

Sources: Wilson 1927 (the interval); Kish 1965 (effective sample size); Korn and Graubard 1998, "Confidence intervals
for proportions with small expected number of positive counts estimated from survey data" (Student's t for few
clusters); Miller 2024, arXiv:2411.00640 (clustered standard errors and paired differences for evaluations); Agresti
and Min 2005 (pseudo-observations for paired differences). Unlike the survey papers we never count more effective
than real trials for 0/1 scores.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from statistics import NormalDist

import msgspec

from flywheel.errors import ScoringError
from flywheel.results import Interval, Score


class Difference(msgspec.Struct, frozen=True):
    """Mean of candidate minus baseline over the `n` items that both have a score for; `unpaired` have not."""

    value: float | None
    n: int
    unpaired: int
    interval: Interval | None = None


def mean_score(
    values: Sequence[float | None],
    clusters: Sequence[Hashable] | None = None,
    weights: Sequence[float] | None = None,
    level: float = 0.95,
    binary: bool = False,
) -> Score:
    """Mean of the values that are there, with its interval; None counts as unscored, never as zero.

    Args:
        values: Scores in [0, 1], None for unscored, shape (n,).
        clusters: Name of the group of dependent items that each value belongs to; None: all are independent.
        weights: How much each value counts, e.g. logged calls it stands for; None: all alike.
        level: Confidence level, a fraction.
        binary: The scores can only be 0 or 1. Without clusters and weights the interval is then exactly Wilson's.
    """
    _check(values, clusters, weights)
    kept = [i for i, value in enumerate(values) if value is not None and (weights is None or weights[i] > 0)]
    unscored = sum(value is None for value in values)
    if not kept:
        return Score(None, 0, unscored)
    x = [float(values[i] or 0.0) for i in kept]
    w = [1.0 if weights is None else float(weights[i]) for i in kept]
    groups = list(range(len(kept))) if clusters is None else [clusters[i] for i in kept]
    mean = math.fsum(a * b for a, b in zip(x, w, strict=True)) / math.fsum(w)
    mean = min(1.0, max(0.0, mean))
    simple = len(set(groups)) == len(groups) and len(set(w)) == 1
    if binary and simple:
        return Score(mean, len(x), unscored, wilson(mean, len(x), level))
    trials = effective_trials(x, w, groups, mean, binary)
    # Fewer degrees of freedom make the variance itself unsure: Student's t in place of the normal.
    ratio = normal_quantile(level) / t_quantile(level, len(set(groups)) - 1)
    return Score(mean, len(x), unscored, wilson(mean, trials * ratio**2, level))


def wilson(mean: float, trials: float, level: float = 0.95) -> Interval:
    """Wilson's score interval for a proportion seen in so many (not necessarily whole) independent trials."""
    z = normal_quantile(level)
    if trials <= 0:
        return Interval(0.0, 1.0, level)
    centre = (mean + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(mean * (1 - mean) / trials + z * z / (4 * trials**2)) / (1 + z * z / trials)
    # At the ends rounding may leave a bound 1e-17 off the mean.
    return Interval(max(0.0, min(centre - half, mean)), min(1.0, max(centre + half, mean)), level)


def paired_difference(
    candidate: Sequence[float | None],
    baseline: Sequence[float | None],
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> Difference:
    """Mean difference on the same items, in points (not percent), with a t interval within [-1, 1].

    Two pseudo-observations are added, one for each side (each half a win and half a tie), so that a handful of
    identical scores does not come out as certainty. Items without a score on either side are left out and counted.

    Raises: ScoringError where the lengths differ.
    """
    if len(candidate) != len(baseline):
        raise ScoringError(
            f"{len(candidate)} candidate scores cannot be paired with {len(baseline)} baseline scores; "
            "give one score for each item on both sides."
        )
    _check(candidate, clusters, None)
    _check(baseline, clusters, None)
    pairs = [
        (a - b, clusters[i] if clusters is not None else i)
        for i, (a, b) in enumerate(zip(candidate, baseline, strict=True))
        if a is not None and b is not None
    ]
    unpaired = len(candidate) - len(pairs)
    if not pairs:
        return Difference(None, 0, unpaired)
    value = math.fsum(difference for difference, _ in pairs) / len(pairs)
    if len({group for _, group in pairs}) < 2:
        return Difference(value, len(pairs), unpaired, Interval(-1.0, 1.0, level))
    # Half a win for either side and a tie: weights 0.5, 0.5 and 1, each a cluster of its own.
    x = [difference for difference, _ in pairs] + [1.0, -1.0, 0.0]
    w = [1.0] * len(pairs) + [0.5, 0.5, 1.0]
    groups: list[Hashable] = [("item", group) for _, group in pairs]
    groups += [("pseudo", k) for k in range(3)]
    centre = math.fsum(a * b for a, b in zip(x, w, strict=True)) / math.fsum(w)
    error = math.sqrt(variance_of_mean(x, w, groups, centre))
    half = t_quantile(level, len({group for _, group in pairs}) - 1) * error
    return Difference(
        value,
        len(pairs),
        unpaired,
        Interval(max(-1.0, min(centre - half, value)), min(1.0, max(centre + half, value)), level),
    )


def normal_quantile(level: float) -> float:
    """z of a two-sided interval of this level: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + level) / 2)


def t_quantile(level: float, degrees: int) -> float:
    """t of a two-sided interval of this level; infinite without a degree of freedom."""
    if degrees < 1:
        return math.inf
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))


def variance_of_mean(
    x: Sequence[float], w: Sequence[float], groups: Sequence[Hashable], mean: float
) -> float:
    """Cluster-robust variance of a weighted mean, by linearisation: G/(G-1) Σ_g (Σ_i w_i (x_i - mean))² / (Σ w)²."""
    residuals: dict[Hashable, float] = {}
    for value, weight, group in zip(x, w, groups, strict=True):
        residuals[group] = residuals.get(group, 0.0) + weight * (value - mean)
    count = len(residuals)
    return count / (count - 1) * math.fsum(r * r for r in residuals.values()) / math.fsum(w) ** 2


def effective_trials(
    x: Sequence[float], w: Sequence[float], groups: Sequence[Hashable], mean: float, binary: bool
) -> float:
    """Independent 0/1 trials whose mean would vary as much as this one does."""
    weights_of_groups: dict[Hashable, float] = {}
    for weight, group in zip(w, groups, strict=True):
        weights_of_groups[group] = weights_of_groups.get(group, 0.0) + weight
    # Where nothing varies there is no variance to go by: a cluster is then one trial.
    fewest = kish(weights_of_groups.values())
    if len(weights_of_groups) < 2:
        return fewest
    variance = variance_of_mean(x, w, groups, mean)
    if variance <= 1e-18:
        return fewest
    trials = mean * (1 - mean) / variance
    return min(trials, float(len(x))) if binary else trials


def kish(weights: Iterable[float]) -> float:
    """Equal weights that these are worth: (Σ w)² / Σ w²."""
    listed = list(weights)
    return math.fsum(listed) ** 2 / math.fsum(weight * weight for weight in listed)


def _check(
    values: Sequence[float | None], clusters: Sequence[Hashable] | None, weights: Sequence[float] | None
) -> None:
    for name, other in (("clusters", clusters), ("weights", weights)):
        if other is not None and len(other) != len(values):
            raise ScoringError(f"{len(values)} scores but {len(other)} {name}; give one for each score.")
    for value in values:
        if value is not None and not 0 <= value <= 1:
            raise ScoringError(f"{value} is no score: scores lie between 0 and 1.")
    for weight in weights or ():
        if not (weight >= 0 and math.isfinite(weight)):
            raise ScoringError(f"{weight} is no weight: weights are finite and not negative.")
