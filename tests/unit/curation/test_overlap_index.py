from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.curation.overlap_index import OverlapIndex
from flywheel.curation.shingles import mix

SETS = st.lists(st.lists(st.integers(0, 15), max_size=14), min_size=1, max_size=8)


def elements(sets: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    owners = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
    return mix(np.array([element for one in sets for element in one], dtype=np.uint64) + np.uint64(1)), owners


@settings(deadline=None, max_examples=200)
@given(SETS, SETS, st.floats(0.05, 1))
def test_no_pair_at_the_floor_is_missed_and_every_count_is_right(
    items: list[list[int]], rows: list[list[int]], floor: float
) -> None:
    found = OverlapIndex(*elements(items), len(items), floor).find(*elements(rows))
    pairs = {
        (int(row), int(item)): place
        for place, (row, item) in enumerate(zip(found.rows, found.items, strict=True))
    }
    assert len(pairs) == found.rows.size
    for row, mine in enumerate(rows):
        for item, theirs in enumerate(items):
            shared = len(set(mine) & set(theirs))
            if (row, item) in pairs:
                place = pairs[row, item]
                assert (found.shared[place], found.row_sizes[place], found.item_sizes[place]) == (
                    shared,
                    len(set(mine)),
                    len(set(theirs)),
                )
            else:
                assert not theirs or shared < floor * len(set(theirs)) or shared == 0
