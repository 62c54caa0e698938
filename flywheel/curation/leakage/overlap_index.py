"""Finding rows that share a large part of an item's elements, without comparing every row with every item.

Elements are hashes: of word n-grams, or of windows of characters. A row that shares at least `need` of an item's n
elements must share at least `probes` of any n - need + probes of them (the pigeonhole principle), so only that many
of each item are indexed: the rarest, which unrelated rows seldom hold. Source: Chaudhuri, Ganti and Kaushik 2006,
A Primitive Operator for Similarity Joins in Data Cleaning (prefix filter).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

_MOST_PROBES = 16
_CHUNK_PAIRS = 8_192
MOST_CELLS = 4_000_000
"""Counted at once: it bounds the memory, also where every row shares its text with every item."""


class ElementSets:
    """The distinct elements of each of `count` owners, from hashes with repeats and the owner of each."""

    def __init__(self, hashes: Words, owners: Indices, count: int) -> None:
        order = np.lexsort((hashes, owners))
        hashes, owners = hashes[order], owners[order]
        new = np.ones(hashes.size, dtype=bool)
        new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
        self.hashes, self.owners = hashes[new], owners[new]
        self.sizes = np.bincount(self.owners, minlength=count)
        self.begins = np.cumsum(self.sizes) - self.sizes


def count_shared(rows: ElementSets, items: ElementSets, pair_rows: Indices, pair_items: Indices) -> Indices:
    """How many elements a row and an item share, pair by pair, shape (pairs,)."""
    # Row and element in one number: the row above, 40 bits of the hash below.
    held = rows.owners.astype(np.uint64) << np.uint64(40) | rows.hashes >> np.uint64(24)
    shared = np.zeros(pair_rows.size, dtype=np.int64)
    for begin in range(0, pair_rows.size if held.size else 0, _CHUNK_PAIRS):
        chunk = slice(begin, begin + _CHUNK_PAIRS)
        sizes = items.sizes[pair_items[chunk]]
        offsets = items.begins[pair_items[chunk]] - (np.cumsum(sizes) - sizes)
        elements = items.hashes[np.arange(sizes.sum()) + np.repeat(offsets, sizes)]
        asked = np.repeat(pair_rows[chunk], sizes).astype(np.uint64) << np.uint64(40) | elements >> np.uint64(
            24
        )
        found = held[np.minimum(np.searchsorted(held, asked), held.size - 1)] == asked
        pairs = np.repeat(np.arange(sizes.size), sizes)
        shared[chunk] = np.bincount(pairs[found], minlength=sizes.size)
    return shared


class OverlapIndex:
    """An inverted index over the rarest elements of items.

    Args:
        items: The elements of the items; an item without any is never found.
        floor: Share of an item's elements from which no row that holds them is missed.
    """

    def __init__(self, items: ElementSets, floor: float) -> None:
        need = np.maximum(np.ceil(floor * items.sizes - 1e-9).astype(np.int64), 1)
        self.probes = np.clip(need // 4, 1, _MOST_PROBES)
        distinct, places, frequency = np.unique(items.hashes, return_inverse=True, return_counts=True)
        by_rarity = np.lexsort((items.hashes, frequency[places], items.owners))
        rank = np.arange(places.size) - items.begins[items.owners]
        indexed = by_rarity[rank < (items.sizes - need + self.probes)[items.owners]]
        used, columns, holders = np.unique(places[indexed], return_inverse=True, return_counts=True)
        self.keys = distinct[used]
        self.items = items.owners[indexed[np.argsort(columns, kind="stable")]]
        self.ends = np.cumsum(holders)
        self.holders = holders  # the items of key k are the `holders[k]` of `items` before `ends[k]`
        # Keys are ascending, so those that share their upper bits stand together, few of them.
        bits = int(np.clip(np.ceil(np.log2(4 * used.size + 1)), 8, 22))
        self.shift = np.uint64(64 - bits)
        slots = np.arange((1 << bits) + 1, dtype=np.int64)
        self.slots = np.searchsorted((self.keys >> self.shift).astype(np.int64), slots).astype(np.int32)
        self.filled = np.diff(self.slots) > 0  # small enough for the cache, and says no to most

    def candidates(self, hashes: Words, rows: Indices) -> tuple[Indices, Indices]:
        """Pairs of a row and an item that may share as much as the floor, each of shape (pairs,), by row.

        An element that a row repeats counts each time: a few pairs too many, which an exact count sorts out.

        Args:
            hashes: Elements of rows, repeats included.
            rows: The row of each element, ascending.
        """
        elements, keys = self._look_up(hashes)
        if not elements.size:
            return elements, elements
        holds = rows[elements]
        rows_at_once = max(MOST_CELLS // self.probes.size, 1)
        bounds = np.searchsorted(holds, np.arange(holds[0], holds[-1] + rows_at_once + 1, rows_at_once))
        parts = [self._pairs(holds[a:b], keys[a:b]) for a, b in pairwise(bounds.tolist()) if a < b]
        pairs = np.concatenate(parts)
        return pairs // self.probes.size, pairs % self.probes.size

    def _pairs(self, rows: Indices, keys: Indices) -> Indices:
        """Row times number of items plus item, ascending, of pairs that share enough of these keys."""
        items, first = self.probes.size, rows[0]
        shared = np.zeros((rows[-1] - first + 1) * items, dtype=np.int64)
        ends = np.cumsum(self.holders[keys])
        bounds = np.searchsorted(ends, np.arange(MOST_CELLS, ends[-1] + MOST_CELLS, MOST_CELLS), "right")
        for a, b in pairwise([0, *bounds.tolist()]):
            holders = self.holders[keys[a:b]]
            asked = np.cumsum(holders)
            places = np.arange(holders.sum()) + np.repeat(self.ends[keys[a:b]] - asked, holders)
            cells = np.repeat((rows[a:b] - first) * items, holders) + self.items[places]
            shared += np.bincount(cells, minlength=shared.size)
        met = np.flatnonzero(shared)
        return np.asarray(met[shared[met] >= self.probes[met % items]] + first * items)

    def _look_up(self, hashes: Words) -> tuple[Indices, Indices]:
        """Which of the hashes are keys, ascending, and which keys they are."""
        slots = (hashes >> self.shift).astype(np.int64)
        elements = np.flatnonzero(self.filled[slots])
        slots, wanted = slots[elements], hashes[elements]
        places, ends = self.slots[slots], self.slots[slots + 1]
        found = self.keys[places] == wanted
        behind = np.flatnonzero(~found)  # of which the key, if there, stands further on in the slot
        while behind.size:
            places[behind] += 1
            behind = behind[places[behind] < ends[behind]]
            equal = self.keys[places[behind]] == wanted[behind]
            found[behind[equal]] = True
            behind = behind[~equal]
        return elements[found], places[found].astype(np.int64)
