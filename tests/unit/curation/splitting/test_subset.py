from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.curation.splitting.subset import complete, nearest_sums, reachable_sums

SIZES = st.lists(st.integers(1, 9), max_size=9)


def every_sum(sizes: list[int]) -> set[int]:
    return {sum(chosen) for count in range(len(sizes) + 1) for chosen in combinations(sizes, count)}


@settings(deadline=None)
@given(SIZES, st.integers(0, 40))
def test_the_reachable_sums_are_those_of_all_subsets(sizes: list[int], most: int) -> None:
    sums = reachable_sums(sizes, most)
    assert {number for number in range(most + 1) if sums >> number & 1} == {
        s for s in every_sum(sizes) if s <= most
    }
    assert sums.bit_length() <= most + 1


@settings(deadline=None)
@given(SIZES, st.integers(1, 30))
def test_the_nearest_sums_stand_on_both_sides_of_the_target(sizes: list[int], target: int) -> None:
    below, above = nearest_sums(reachable_sums(sizes, 30), target, 30)
    found = {s for s in every_sum(sizes) if 1 <= s <= 30}
    assert below == max((s for s in found if s <= target), default=None)
    assert above == min((s for s in found if s >= target), default=None)


@settings(deadline=None)
@given(SIZES, st.integers(1, 40), st.integers(0, 9))
def test_a_choice_is_completed_exactly_whenever_a_subset_exists(
    sizes: list[int], target: int, first: int
) -> None:
    chosen: list[int] = []
    for group in range(min(first, len(sizes))):
        if sum(sizes[g] for g in chosen) + sizes[group] <= target:
            chosen.append(group)
    spare = [group for group in range(len(sizes)) if group not in chosen]
    found = complete(chosen, spare, sizes, target)
    if target not in every_sum(sizes):
        assert found is None
        return
    assert found is not None
    assert len(set(found)) == len(found)
    assert sum(sizes[group] for group in found) == target


def test_what_was_chosen_first_is_given_up_last() -> None:
    sizes = [2, 2, 3, 3]
    assert sorted(complete([0, 1], [2, 3], sizes, 5) or []) == [0, 2]
