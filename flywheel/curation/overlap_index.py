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
from scipy.sparse import csr_array

Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

_CHUNK_PAIRS = 8_192
_MOST_PROBES = 8


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
        self.probes = np.clip(need // 4, 1, _MOST_PROBES)

        distinct, places, frequency = np.unique(self.hashes, return_inverse=True, return_counts=True)
        by_rarity = np.lexsort((self.hashes, frequency[places], owners))
        rank = np.arange(owners.size) - self.begins[owners]
        indexed = by_rarity[rank < (self.sizes - need + self.probes)[owners]]
        used, columns = np.unique(places[indexed], return_inverse=True)
        self.keys = distinct[used]
        self.postings = csr_array(
            (np.ones(indexed.size, dtype=np.int32), (columns, owners[indexed])), shape=(used.size, count)
        )
        # Keys are ascending, so those that share their upper bits stand together, few of them.
        bits = int(np.clip(np.ceil(np.log2(4 * used.size + 1)), 8, 22))
        self.shift = np.uint64(64 - bits)
        slots = np.arange((1 << bits) + 1, dtype=np.int64)
        self.slots = np.searchsorted((self.keys >> self.shift).astype(np.int64), slots).astype(np.int32)

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
        shared = np.empty(pair_rows.size, dtype=np.int64)
        for begin in range(0, pair_rows.size, _CHUNK_PAIRS):
            chunk = slice(begin, begin + _CHUNK_PAIRS)
            shared[chunk] = self._shared(row_hashes, row_of, pair_rows[chunk], pair_items[chunk])
        return Overlaps(pair_rows, pair_items, shared, row_sizes[pair_rows], self.sizes[pair_items])

    def _candidates(self, hashes: Words, rows: Indices) -> tuple[Indices, Indices]:
        """Pairs that share enough of the indexed elements; each of shape (pairs,), by row."""
        elements, keys = self._look_up(hashes)
        if not elements.size:
            return elements, elements
        hits = np.sort(rows[elements] * self.keys.size + keys)
        hits = hits[np.concatenate([[True], hits[1:] != hits[:-1]])]
        hit_rows, hit_keys = np.divmod(hits, self.keys.size)
        ends = np.cumsum(np.bincount(hit_rows))
        holds = csr_array(
            (np.ones(hits.size, dtype=np.int32), hit_keys, np.concatenate([[0], ends])),
            shape=(ends.size, self.keys.size),
        )
        counts = (holds @ self.postings).tocoo()
        enough = counts.data >= self.probes[counts.col]
        return counts.row[enough].astype(np.int64), counts.col[enough].astype(np.int64)

    def _look_up(self, hashes: Words) -> tuple[Indices, Indices]:
        """Which of the hashes are keys, and which keys they are."""
        slots = (hashes >> self.shift).astype(np.int64)
        places, ends = self.slots[slots], self.slots[slots + 1]
        open_ = np.flatnonzero(places < ends)
        found, keys = [open_[:0]], [open_[:0]]
        places, ends = places[open_].astype(np.int64), ends[open_]
        while open_.size:
            equal = self.keys[places] == hashes[open_]
            found.append(open_[equal])
            keys.append(places[equal])
            places += 1
            again = ~equal & (places < ends)
            open_, places, ends = open_[again], places[again], ends[again]
        return np.concatenate(found), np.concatenate(keys)

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
