"""Finding rows that share a large part of an item's elements, without comparing every row with every item.

Elements are hashes: of an item's word n-grams, or of its character shingles. A row that shares at least `need` of
an item's n elements must share at least `probes` of any n - need + probes of them (the pigeonhole principle), so
only that many of each item are indexed: the rarest, which unrelated rows seldom hold. No pair at or above the floor
is missed. Source: Chaudhuri, Ganti and Kaushik 2006, A Primitive Operator for Similarity Joins (prefix filter).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

_TABLE_BITS = 20
_MOST_EXPANDED = 2_000_000


class Overlaps(NamedTuple):
    """Pairs of a row and an item: how many elements they share, and how many distinct ones each has."""

    rows: Indices
    items: Indices
    shared: Indices
    row_sizes: Indices
    item_sizes: Indices


class OverlapIndex:
    """An inverted index over the elements of items.

    Args:
        hashes: Elements of all items, repeats included.
        items: The item of each element.
        count: Number of items; one without elements is never found.
        floor: Least share of an item's elements that a row has to hold to be found.
    """

    def __init__(self, hashes: Words, items: Indices, count: int, floor: float) -> None:
        order = np.lexsort((hashes, items))
        hashes, items = hashes[order], items[order]
        new = np.ones(hashes.size, dtype=bool)
        new[1:] = (hashes[1:] != hashes[:-1]) | (items[1:] != items[:-1])
        self.hashes, owners = hashes[new], items[new]
        self.sizes = np.bincount(owners, minlength=count)
        self.begins = np.cumsum(self.sizes) - self.sizes
        need = np.maximum(np.ceil(floor * self.sizes - 1e-9).astype(np.int64), 1)
        self.probes = np.maximum(need // 4, 1)

        distinct, places, frequency = np.unique(self.hashes, return_inverse=True, return_counts=True)
        by_rarity = np.lexsort((self.hashes, frequency[places], owners))
        rank = np.arange(owners.size) - self.begins[owners]
        indexed = by_rarity[rank < (self.sizes - need + self.probes)[owners]]
        by_key = indexed[np.argsort(places[indexed], kind="stable")]
        used, begins = np.unique(places[by_key], return_index=True)
        self.keys = distinct[used]
        self.posting_begins = begins
        self.posting_sizes = np.diff(np.append(begins, by_key.size))
        self.postings = owners[by_key]
        self.maybe = np.zeros(1 << _TABLE_BITS, dtype=bool)  # answers most look-ups with one glance
        self.maybe[self.keys >> np.uint64(64 - _TABLE_BITS)] = True

    def find(self, hashes: Words, rows: Indices) -> Overlaps:
        """Rows that share at least the floor of an item's elements, and nothing that shares none.

        Args:
            hashes: Elements of rows, repeats included.
            rows: The row of each element, ascending.
        """
        pair_rows, pair_items = self._candidates(hashes, rows)
        if not pair_rows.size:
            empty = np.zeros(0, dtype=np.int64)
            return Overlaps(empty, empty, empty, empty, empty)
        wanted = np.zeros(int(rows.max()) + 1, dtype=bool)
        wanted[pair_rows] = True
        chosen = wanted[rows]
        row_hashes, row_of = hashes[chosen], rows[chosen]
        order = np.lexsort((row_hashes, row_of))
        row_hashes, row_of = row_hashes[order], row_of[order]
        new = np.ones(row_hashes.size, dtype=bool)
        new[1:] = (row_hashes[1:] != row_hashes[:-1]) | (row_of[1:] != row_of[:-1])
        row_hashes, row_of = row_hashes[new], row_of[new]
        row_sizes = np.bincount(row_of, minlength=wanted.size)
        shared = np.concatenate(
            [
                self._shared(
                    row_hashes, row_of, pair_rows[begin : begin + 8_192], pair_items[begin : begin + 8_192]
                )
                for begin in range(0, pair_rows.size, 8_192)
            ]
        )
        return Overlaps(pair_rows, pair_items, shared, row_sizes[pair_rows], self.sizes[pair_items])

    def _candidates(self, hashes: Words, rows: Indices) -> tuple[Indices, Indices]:
        """Pairs that share enough of the indexed elements; each of shape (pairs,), by row and item."""
        likely = np.flatnonzero(self.maybe[hashes >> np.uint64(64 - _TABLE_BITS)])
        if not likely.size:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        keys = np.minimum(np.searchsorted(self.keys, hashes[likely]), self.keys.size - 1)
        held = self.keys[keys] == hashes[likely]
        hits = np.unique(rows[likely][held] * self.keys.size + keys[held])
        hit_rows, hit_keys = np.divmod(hits, self.keys.size)
        expanded = np.cumsum(self.posting_sizes[hit_keys])
        found_rows, found_items = [], []
        begin = 0
        while begin < hits.size:
            spent = expanded[begin - 1] if begin else 0
            end = int(np.searchsorted(expanded, spent + _MOST_EXPANDED, side="right"))
            end = max(end, begin + 1)
            end = int(
                np.searchsorted(hit_rows, hit_rows[end - 1], side="right")
            )  # a row's hits are counted at once
            sizes = self.posting_sizes[hit_keys[begin:end]]
            stops = np.cumsum(sizes)
            offsets = np.repeat(self.posting_begins[hit_keys[begin:end]] - (stops - sizes), sizes)
            items = self.postings[np.arange(stops[-1]) + offsets]
            pairs = np.repeat(hit_rows[begin:end], sizes) * self.sizes.size + items
            pairs, counts = np.unique(pairs, return_counts=True)
            enough = counts >= self.probes[pairs % self.sizes.size]
            pair_rows, pair_items = np.divmod(pairs[enough], self.sizes.size)
            found_rows.append(pair_rows)
            found_items.append(pair_items)
            begin = end
        if not found_rows:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        return np.concatenate(found_rows), np.concatenate(found_items)

    def _shared(self, row_hashes: Words, row_of: Indices, rows: Indices, items: Indices) -> Indices:
        """How many of an item's elements a row holds, pair by pair."""
        sizes = self.sizes[items]
        stops = np.cumsum(sizes)
        elements = self.hashes[np.arange(stops[-1]) + np.repeat(self.begins[items] - (stops - sizes), sizes)]
        # Row and element in one number: the row above, 40 bits of the hash below.
        low = np.uint64(24)
        held = row_of.astype(np.uint64) << np.uint64(40) | row_hashes >> low
        asked = np.repeat(rows, sizes).astype(np.uint64) << np.uint64(40) | elements >> low
        places = np.minimum(np.searchsorted(held, asked), held.size - 1)
        pairs = np.repeat(np.arange(rows.size), sizes)
        return np.bincount(pairs, weights=held[places] == asked, minlength=rows.size).astype(np.int64)
