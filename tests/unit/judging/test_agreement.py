from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from flywheel.judging.agreement import cohens_kappa, rank_correlation


def pairs(table: dict[tuple[int, int], int]) -> tuple[list[int], list[int]]:
    both = [pair for pair, count in table.items() for _ in range(count)]
    return [a for a, _ in both], [b for _, b in both]


def test_kappa_of_published_tables() -> None:
    # Grants read by two readers: 20 both yes, 15 both no, 5 and 10 split; kappa 0.4.
    assert cohens_kappa(*pairs({(1, 1): 20, (1, 0): 5, (0, 1): 10, (0, 0): 15})) == pytest.approx(0.4)
    # Same share of agreement, other margins.
    assert cohens_kappa(*pairs({(1, 1): 45, (1, 0): 15, (0, 1): 25, (0, 0): 15})) == pytest.approx(
        0.1304, abs=1e-4
    )
    assert cohens_kappa(*pairs({(1, 1): 25, (1, 0): 35, (0, 1): 5, (0, 0): 35})) == pytest.approx(
        0.2593, abs=1e-4
    )


def test_weighted_kappa_by_hand() -> None:
    # Quadratic weights on 3 points: observed (4 x 1 off by one) / 10, expected from the margins.
    first, second = [1, 1, 1, 2, 2, 2, 3, 3, 3, 3], [1, 1, 2, 2, 2, 3, 3, 3, 2, 2]
    expected = sum((a - b) ** 2 for a in first for b in second) / 100
    assert cohens_kappa(first, second, weighted=True) == pytest.approx(1 - 0.4 / expected)


def test_kappa_is_unknown_where_chance_would_agree_on_everything() -> None:
    assert cohens_kappa([], []) is None
    assert cohens_kappa([1, 1, 1], [1, 1, 1]) is None
    with pytest.raises(ValueError, match="cannot be held against"):
        cohens_kappa([1], [])


RATINGS = st.lists(st.tuples(st.integers(1, 10), st.integers(1, 10)), min_size=1, max_size=40)


@given(RATINGS, st.booleans())
def test_kappa_is_symmetric_at_most_one_and_one_for_equal_raters(
    both: list[tuple[int, int]], weighted: bool
) -> None:
    first, second = [a for a, _ in both], [b for _, b in both]
    found = cohens_kappa(first, second, weighted=weighted)
    other = cohens_kappa(second, first, weighted=weighted)
    assert (found is None) == (other is None)
    if found is not None and other is not None:
        assert found == pytest.approx(other)
        assert found <= 1 + 1e-12
    same = cohens_kappa(first, first, weighted=weighted)
    assert same is None or same == 1


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 1000)), min_size=3, max_size=40))
def test_rank_correlation_is_scipys(both: list[tuple[int, int]]) -> None:
    x, y = [a for a, _ in both], [b for _, b in both]
    found = rank_correlation(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found is None
    else:
        assert found is not None
        assert math.isclose(found, spearmanr(x, y).statistic, abs_tol=1e-9)


def test_two_pairs_are_no_correlation() -> None:
    assert rank_correlation([1, 2], [1, 2]) is None
