"""How far two raters agree, and what two series have to do with each other."""

from __future__ import annotations

import math
from collections.abc import Sequence


def cohens_kappa(first: Sequence[int], second: Sequence[int], *, weighted: bool = False) -> float | None:
    """Agreement of two raters on the same things beyond what chance would give; 1 is perfect, 0 is chance.

    Args:
        first, second: Ratings, shape (n,), of the same things in the same order.
        weighted: Count a disagreement by the square of its size, for ratings on a scale.

    Returns: None where n is 0 or chance alone would agree on everything: both raters always gave one and the same
        rating.

    Raises: ValueError where the lengths differ.
    Source: Cohen 1960, "A coefficient of agreement for nominal scales"; Cohen 1968 for the weights.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} ratings cannot be held against {len(second)}")
    n = len(first)
    values = sorted({*first, *second})
    if n == 0 or len(values) < 2:
        return None

    def distance(a: int, b: int) -> float:
        return float((a - b) ** 2) if weighted else float(a != b)

    observed = sum(distance(a, b) for a, b in zip(first, second, strict=True)) / n
    shares = [(first.count(value) / n, second.count(value) / n) for value in values]
    expected = sum(
        left[0] * right[1] * distance(a, b)
        for a, left in zip(values, shares, strict=True)
        for b, right in zip(values, shares, strict=True)
    )
    return 1.0 - observed / expected if expected else None


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties sharing their mean rank; None for fewer than 3 pairs or a constant series."""
    if len(x) != len(y):
        raise ValueError(f"{len(x)} values cannot be paired with {len(y)}")
    if len(x) < 3:
        return None
    left, right = _ranks(x), _ranks(y)
    middle = (len(x) + 1) / 2
    a = [rank - middle for rank in left]
    b = [rank - middle for rank in right]
    norm = math.sqrt(math.fsum(v * v for v in a) * math.fsum(v * v for v in b))
    if norm == 0:
        return None
    return max(-1.0, min(1.0, math.fsum(u * v for u, v in zip(a, b, strict=True)) / norm))


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for position in range(start, end + 1):
            ranks[order[position]] = (start + end) / 2 + 1
        start = end + 1
    return ranks
