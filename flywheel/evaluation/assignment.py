"""Pairing two lists without regard to order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def all_matched(left: Sequence[T], right: Sequence[T], match: Callable[[T, T], bool]) -> bool:
    """Whether every element of `left` can be paired with its own element of `right`, none left over.

    `match` need not be transitive, so counting equal elements is not enough: Kuhn's augmenting paths, O(n^3) calls
    at worst and n calls where the order agrees.
    """
    if len(left) != len(right):
        return False
    partner: dict[int, int] = {}  # right -> left
    known: dict[tuple[int, int], bool] = {}

    def matches(i: int, j: int) -> bool:
        if (i, j) not in known:
            known[i, j] = match(left[i], right[j])
        return known[i, j]

    def find(i: int, tried: set[int]) -> bool:
        for j in [i, *range(len(right))]:  # the same place first: most lists agree in order
            if j not in tried and matches(i, j):
                tried.add(j)
                if j not in partner or find(partner[j], tried):
                    partner[j] = i
                    return True
        return False

    return all(find(i, set()) for i in range(len(left)))


def best_total(gains: Sequence[Sequence[float]]) -> float:
    """Largest sum of gains when each row is paired with at most one column and the other way round.

    `gains` has shape (rows, columns), at least one of each; no gain is negative.
    """
    if len(gains) == 1:
        return max(gains[0])
    if all(len(row) == 1 for row in gains):
        return max(row[0] for row in gains)
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(gains, maximize=True)
    return float(sum(gains[i][j] for i, j in zip(rows, columns, strict=True)))
