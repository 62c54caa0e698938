"""Many comparisons at once: some of them look sure by chance alone."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values such that keeping those at most alpha errs anywhere with a probability of at most alpha.

    However the comparisons depend on each other. Source: Holm 1979, A simple sequentially rejective multiple test
    procedure.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    reached = 0.0
    for rank, place in enumerate(order):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = reached
    return adjusted
