"""Evaluations of one run beside each other, on the same items.

Compared are the ways of one candidate, and each candidate's best way with the others': what people ask first, and few
enough that adjusting for their number costs little.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import msgspec

from flywheel.findings.analysis import Bounds, Comparison, Difference
from flywheel.verdicts.contenders import Contender
from flywheel.verdicts.estimates import Paired, Scored, mean_of, paired, tail_above, tail_below
from flywheel.verdicts.multiplicity import holm

MOST_CANDIDATES = 12


def comparisons_of(contenders: Sequence[Contender], level: float = 0.95) -> list[Comparison]:
    """Paired differences with intervals; p-values two-sided, adjusted after Holm."""
    found = [
        Comparison(a.primary, a.name, b.name, difference)
        for a, b in _pairs(contenders)
        if (difference := paired_difference(a.scored, b.scored, level)).value is not None
    ]
    adjusted = holm([comparison.difference.p_value or 0.0 for comparison in found])
    return [
        msgspec.structs.replace(
            comparison, difference=msgspec.structs.replace(comparison.difference, p_adjusted=p)
        )
        for comparison, p in zip(found, adjusted, strict=True)
    ]


def paired_difference(first: Scored, second: Scored, level: float = 0.95) -> Difference:
    """First minus second on the same items.

    The p-value is McNemar's exact one where scores are 0 or 1 and items independent and alike; else it belongs to the
    interval.
    """
    estimate = paired(first, second)
    if estimate is None:
        return Difference(None, 0)
    low, high = estimate.bounds((1 - level) / 2)
    return Difference(
        estimate.value, estimate.n, Bounds(low, high), p_value=_p_value(first, second, estimate)
    )


def mcnemar(first_only: int, second_only: int) -> float:
    """Exact two-sided p-value of McNemar's test: so many items were right on one side alone."""
    from scipy.special import bdtr

    if first_only == second_only:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(first_only, second_only), first_only + second_only, 0.5)))


def _p_value(first: Scored, second: Scored, estimate: Paired) -> float:
    pairs = [
        (a, b, group, weight)
        for a, b, group, weight in zip(
            first.values, second.values, first.clusters, first.weights, strict=True
        )
        if a is not None and b is not None and weight > 0
    ]
    alike = len({weight for *_, weight in pairs}) == 1
    independent = len({group for _, _, group, _ in pairs}) == len(pairs)
    if alike and independent and all(a in (0, 1) and b in (0, 1) for a, b, *_ in pairs):
        return mcnemar(sum(a > b for a, b, *_ in pairs), sum(a < b for a, b, *_ in pairs))
    return min(1.0, 2 * min(tail_above(estimate, 0.0), tail_below(estimate, 0.0)))


def _pairs(contenders: Sequence[Contender]) -> list[tuple[Contender, Contender]]:
    by_candidate: dict[str, list[Contender]] = {}
    for contender in contenders:
        by_candidate.setdefault(contender.candidate, []).append(contender)
    within = [pair for group in by_candidate.values() for pair in combinations(reversed(group), 2)]
    best = [max(group, key=_value) for group in by_candidate.values()]
    best = sorted(best, key=_value, reverse=True)[:MOST_CANDIDATES]
    return [
        (a, b)
        for a, b in [*within, *combinations(best, 2)]
        if a.primary == b.primary and len(a.scored.values) == len(b.scored.values)
    ]


def _value(contender: Contender) -> float:
    mean = mean_of(contender.scored)
    return -1.0 if mean is None else mean.value
