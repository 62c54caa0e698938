"""Estimates that answer one question at any confidence: between which values does the truth lie?

A verdict asks three things of an estimate: its interval, how sure it is that the truth lies above a value, and how
many items would make it sure. All three come from one function, `bounds(tail, scale)`, so they cannot contradict each
other.

Items of one cluster depend on each other and an item may stand for many calls: both lower the number of independent
trials that the items are worth, as in `flywheel.evaluation.statistics`.

Sources: Clopper and Pearson 1934, with the effective sample size of Korn and Graubard 1998 (shares); Student's t over
clusters, with the pseudo-observations of Agresti and Min 2005 (paired differences); Zou and Donner 2008, "Construction
of confidence limits about effect measures" (differences of independent estimates, from the limits of each).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import msgspec

from flywheel.evaluation.statistics import effective_trials, kish, variance_of_mean

SMALLEST_TAIL = 1e-9


class Scored(msgspec.Struct, frozen=True):
    """Scores of items in [0, 1], None where there is none, with each item's cluster and weight; all of shape (n,)."""

    values: Sequence[float | None]
    clusters: Sequence[Hashable]
    weights: Sequence[float]

    def filled(self, missing: float) -> Scored:
        """The same with a score in place of each one that is missing."""
        return Scored(
            [missing if value is None else value for value in self.values], self.clusters, self.weights
        )

    @property
    def unscored(self) -> int:
        return sum(value is None for value in self.values)


class Estimate(Protocol):
    """An estimate of a mean or of a difference of means."""

    @property
    def value(self) -> float: ...

    @property
    def n(self) -> int: ...

    def bounds(self, tail: float, scale: float = 1.0) -> tuple[float, float]:
        """Limits that the truth lies beyond with a probability of at most `tail` (0 to 0.5) on either side.

        `scale`: as if this many times as many items had shown the same.
        """
        ...


class Mean(msgspec.Struct, frozen=True):
    """A mean in [0, 1] that varies as the share of hits in `trials` independent trials would.

    `degrees` of freedom of its variance; infinite where it follows from the share alone.
    """

    value: float
    n: int
    trials: float
    degrees: float = math.inf

    def bounds(self, tail: float, scale: float = 1.0) -> tuple[float, float]:
        from scipy.special import betaincinv

        trials = self.trials * scale * _wider(tail, self.degrees * scale) ** -2
        if trials <= 0:
            return 0.0, 1.0
        hits = self.value * trials
        misses = trials - hits
        low = float(betaincinv(hits, misses + 1, tail)) if hits > 1e-9 else 0.0
        high = float(betaincinv(hits + 1, misses, 1 - tail)) if misses > 1e-9 else 1.0
        return low, high


class Paired(msgspec.Struct, frozen=True):
    """A mean difference on the same items, with a standard error over clusters.

    `centre` is `value` drawn a little to 0 by the pseudo-observations; intervals lie around it.
    """

    value: float
    n: int
    centre: float
    error: float
    degrees: float

    def bounds(self, tail: float, scale: float = 1.0) -> tuple[float, float]:
        # More items leave less to the pseudo-observations.
        centre = self.value + (self.centre - self.value) / scale
        half = _t(tail, self.degrees * scale) * self.error / math.sqrt(scale)
        return max(-1.0, min(centre - half, self.value)), min(1.0, max(centre + half, self.value))


class Apart(msgspec.Struct, frozen=True):
    """The difference of two independent estimates: of a candidate, and of what it is held against."""

    candidate: Mean
    other: Mean

    @property
    def value(self) -> float:
        return self.candidate.value - self.other.value

    @property
    def n(self) -> int:
        return self.candidate.n

    def bounds(self, tail: float, scale: float = 1.0) -> tuple[float, float]:
        low, high = self.candidate.bounds(tail, scale)
        other_low, other_high = self.other.bounds(
            tail, scale
        )  # a log that gives more items repeats more as well
        below = math.hypot(self.candidate.value - low, other_high - self.other.value)
        above = math.hypot(high - self.candidate.value, self.other.value - other_low)
        return max(-1.0, self.value - below), min(1.0, self.value + above)


class Against(msgspec.Struct, frozen=True):
    """The difference of an estimate and a value that is known or assumed."""

    candidate: Mean
    other: float

    @property
    def value(self) -> float:
        return self.candidate.value - self.other

    @property
    def n(self) -> int:
        return self.candidate.n

    def bounds(self, tail: float, scale: float = 1.0) -> tuple[float, float]:
        low, high = self.candidate.bounds(tail, scale)
        return low - self.other, high - self.other


def mean_of(scored: Scored) -> Mean | None:
    """The mean of the scores that are there; None where there are none."""
    values, groups, weights = _present(scored)
    if not values:
        return None
    binary = all(value in (0.0, 1.0) for value in values)
    total = math.fsum(weights)
    mean = min(1.0, max(0.0, math.fsum(v * w for v, w in zip(values, weights, strict=True)) / total))
    if binary and len(set(groups)) == len(groups) and len(set(weights)) == 1:
        return Mean(mean, len(values), len(values))
    trials = effective_trials(values, weights, groups, mean, binary)
    return Mean(mean, len(values), trials, _effective_clusters(groups, weights) - 1)


def paired(candidate: Scored, other: Scored) -> Paired | None:
    """The mean of candidate minus other over the items that both have a score for; None where there are none.

    The two must be of the same items in the same order. Where there is one cluster alone, nothing is known of others.
    """
    pairs = [
        (a - b, group, weight)
        for a, b, group, weight in zip(
            candidate.values, other.values, candidate.clusters, candidate.weights, strict=True
        )
        if a is not None and b is not None and weight > 0
    ]
    if not pairs:
        return None
    differences = [difference for difference, _, _ in pairs]
    groups = [group for _, group, _ in pairs]
    weights = [weight for _, _, weight in pairs]
    total = math.fsum(weights)
    value = math.fsum(d * w for d, w in zip(differences, weights, strict=True)) / total
    clusters = _effective_clusters(groups, weights)
    if clusters < 1.5:
        return Paired(value, len(pairs), value, math.inf, 1)
    # Weights such that the items count as many as they are worth, beside which stand half a win for either side
    # and a tie.
    weights = [weight * clusters / total for weight in weights]
    x = [*differences, 1.0, -1.0, 0.0]
    w = [*weights, 0.5, 0.5, 1.0]
    g: list[Hashable] = [("item", group) for group in groups]
    g += [("pseudo", place) for place in range(3)]
    centre = math.fsum(a * b for a, b in zip(x, w, strict=True)) / math.fsum(w)
    error = math.sqrt(variance_of_mean(x, w, g, centre))
    return Paired(value, len(pairs), centre, error, clusters - 1)


def tail_above(estimate: Estimate, threshold: float) -> float:
    """One-sided p-value against "the truth is at most `threshold`": small where it is surely more.

    Between `SMALLEST_TAIL` and 1. It is the smallest tail at which the lower limit still clears the threshold.
    """
    return _tail(lambda tail: estimate.bounds(tail)[0] > threshold, estimate, threshold)


def tail_below(estimate: Estimate, threshold: float) -> float:
    """One-sided p-value against "the truth is at least `threshold`": small where it is surely less."""
    return _tail(lambda tail: estimate.bounds(tail)[1] < threshold, estimate, threshold)


def items_to_decide(estimate: Estimate, threshold: float, tail: float, power: float = 0.8) -> int | None:
    """Items with which the estimate would clear `threshold`, if the truth is what was seen; None: too close to say.

    With that many it would be cleared in about a share of `power` of all tries: asked is for clearing it at the tail
    whose quantile is that of `tail` and that of `power` together.
    """
    from scipy.special import ndtr, ndtri

    strict = max(float(ndtr(ndtri(tail) - ndtri(power))), SMALLEST_TAIL)
    upwards = estimate.value > threshold

    def cleared(scale: float) -> bool:
        low, high = estimate.bounds(strict, scale)
        return low > threshold if upwards else high < threshold

    most = 10_000.0
    if not cleared(most):
        return None
    low, high = math.log(1e-3), math.log(most)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if cleared(math.exp(middle)) else (middle, high)
    return max(1, math.ceil(math.exp(high) * estimate.n))


def _tail(cleared: Callable[[float], bool], estimate: Estimate, threshold: float) -> float:
    if not cleared(0.5):
        return 1.0 if estimate.value != threshold else 0.5
    if cleared(SMALLEST_TAIL):
        return SMALLEST_TAIL
    low, high = math.log(SMALLEST_TAIL), math.log(0.5)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if cleared(math.exp(middle)) else (middle, high)
    return math.exp(high)


def _present(scored: Scored) -> tuple[list[float], list[Hashable], list[float]]:
    kept = [
        (value, group, weight)
        for value, group, weight in zip(scored.values, scored.clusters, scored.weights, strict=True)
        if value is not None and weight > 0
    ]
    return [v for v, _, _ in kept], [g for _, g, _ in kept], [w for _, _, w in kept]


def _effective_clusters(groups: Sequence[Hashable], weights: Sequence[float]) -> float:
    """Clusters of equal weight that these are worth; the number of clusters where all weigh alike."""
    of_group: dict[Hashable, float] = {}
    for group, weight in zip(groups, weights, strict=True):
        of_group[group] = of_group.get(group, 0.0) + weight
    return kish(of_group.values())


def _t(tail: float, degrees: float) -> float:
    """The t quantile that is exceeded with probability `tail`."""
    from scipy.special import ndtri, stdtrit

    if math.isinf(degrees):
        return -float(ndtri(tail))
    if degrees <= 0:
        return math.inf
    return -float(stdtrit(degrees, tail))


def _wider(tail: float, degrees: float) -> float:
    """How much wider limits are because their variance is unsure itself."""
    if math.isinf(degrees) or tail > 0.499:  # both quantiles are 0 at one half
        return 1.0
    return _t(tail, degrees) / _t(tail, math.inf)
