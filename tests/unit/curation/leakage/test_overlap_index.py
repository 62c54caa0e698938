from __future__ import annotations

from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.curation.leakage import overlap_index
from flywheel.curation.leakage.overlap_index import ElementSets, OverlapIndex, count_shared
from flywheel.curation.texts.shingles import mix

SETS = st.lists(st.lists(st.integers(0, 15), max_size=14), min_size=1, max_size=8)


def elements(sets: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    owners = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
    return mix(np.array([element for one in sets for element in one], dtype=np.uint64) + np.uint64(1)), owners


@settings(deadline=None, max_examples=200)
@given(SETS, SETS, st.floats(0.05, 1), st.sampled_from([1, 5, 1_000]))
def test_no_pair_at_the_floor_is_missed_and_every_count_is_right_however_few_are_counted_at_once(
    items: list[list[int]], rows: list[list[int]], floor: float, at_once: int
) -> None:
    item_sets, row_sets = ElementSets(*elements(items), len(items)), ElementSets(*elements(rows), len(rows))
    with mock.patch.object(overlap_index, "MOST_CELLS", at_once):
        found = OverlapIndex(item_sets, floor).candidates(*elements(rows))
    pairs = set(zip(*(each.tolist() for each in found), strict=True))
    assert len(pairs) == found[0].size
    every = [(row, item) for row in range(len(rows)) for item in range(len(items))]
    counts = count_shared(row_sets, item_sets, *np.array(every).T)
    for (row, item), counted in zip(every, counts.tolist(), strict=True):
        shared, size = len(set(rows[row]) & set(items[item])), len(set(items[item]))
        assert counted == shared
        if size and shared >= max(floor * size, 1):
            assert (row, item) in pairs
