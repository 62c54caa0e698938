"""Requests whose vectors are so close that they mean the same.

Only requests under one system prompt and one set of tools are compared: exactly, by matrix products of blocks, so that
memory is bounded by a block whatever the number of requests. The work grows with its square.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flywheel.curation.duplicates.clusters import Clusters
from flywheel.curation.texts.embeddings import Embeddings
from flywheel.datasets.similarity import Floats

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

BLOCK = 1_024
ROUNDING = 1e-6  # of the product of equal unit vectors


class SameMeaning(NamedTuple):
    """What is close in meaning among requests, which are numbered best representative first.

    Request `member` means the same as `representative`, and may be left out for it; each of shape (merges,). `pairs`
    counts the close pairs that were met, and `closest` are some of them: (cosine, first, second), closest first.
    """

    member: Indices
    representative: Indices
    cosine: Floats
    pairs: int
    closest: list[tuple[float, int, int]]


def find_same_meaning(
    requests: Indices,
    rows: Indices,
    groups: Indices,
    may_merge: Flags,
    embeddings: Embeddings,
    threshold: float,
    clusters: Clusters | None,
    most: int,
    block: int = BLOCK,
) -> SameMeaning:
    """Compare requests within each group.

    A request is merged only into one that it is itself close to, and that is kept; so is its cluster. One that may not
    be merged is compared with all that are kept, and shares their cluster.

    Args:
        requests: Numbers of the requests to compare, ascending.
        rows: The row of each in the validated table.
        groups: Requests of different numbers here, none below zero, are not compared.
        may_merge: Which of them may be left out.
        clusters: Of all requests; those that are close are connected. None leaves them as they are.
        most: How many of the closest pairs to list.
        block: How many requests are in memory at once, twice.
    """
    threshold -= ROUNDING
    known = np.flatnonzero(embeddings.known(rows))
    order = known[np.lexsort((requests[known], groups[known]))]
    bounds = np.append(np.flatnonzero(np.diff(groups[order], prepend=-1)), order.size)
    merged = np.full(requests.size, -1, dtype=np.int64)
    cosine = np.zeros(requests.size, dtype=np.float32)
    closest: list[tuple[float, int, int]] = []
    pairs = 0
    for begin, end in pairwise(bounds.tolist()):
        members = order[begin:end]
        for first, second, values in _close(
            members, rows, may_merge, merged, cosine, embeddings, threshold, block
        ):
            pairs += first.size
            if clusters is not None:
                clusters.connect(requests[first], requests[second])
            best = np.lexsort((second, first, -values))[:most]
            listed = zip(
                values[best].tolist(),
                requests[first[best]].tolist(),
                requests[second[best]].tolist(),
                strict=True,
            )
            closest = sorted([*closest, *listed], key=lambda pair: (-pair[0], *pair[1:]))[:most]
    member = np.flatnonzero(merged >= 0)
    return SameMeaning(requests[member], requests[merged[member]], cosine[member], pairs, closest)


def _close(
    members: Indices,
    rows: Indices,
    may_merge: Flags,
    merged: Indices,
    cosine: Floats,
    embeddings: Embeddings,
    threshold: float,
    size: int,
) -> Iterator[tuple[Indices, Indices, Floats]]:
    """Yield the close pairs of a group, block by block; fill in which are merged into which on the way.

    What is merged stands for nothing any more, so it is compared no further.
    """
    for begin in range(0, members.size, size):
        block = members[begin : begin + size]
        block = block[merged[block] < 0]
        if not block.size:
            continue
        vectors = embeddings.of(rows[block])
        inside = np.triu(vectors @ vectors.T, 1)
        near = inside >= threshold
        for place in np.flatnonzero(near.any(axis=1)).tolist():
            if merged[block[place]] < 0:
                _merge(block, near[place], inside[place], block[place], may_merge, merged, cosine)
        yield _pairs(near, inside, block, block)
        kept = merged[block] < 0
        block, vectors = block[kept], vectors[kept]
        for other in range(begin + size, members.size, size):
            later = members[other : other + size]
            later = later[merged[later] < 0]
            if not later.size:
                continue
            across = vectors @ embeddings.of(rows[later]).T
            near = across >= threshold
            best = np.argmax(near, axis=0)  # of those it is close to the first
            hit = near[best, np.arange(later.size)] & may_merge[later]
            merged[later[hit]] = block[best[hit]]
            cosine[later[hit]] = across[best, np.arange(later.size)][hit]
            yield _pairs(near, across, block, later)


def _merge(
    block: Indices,
    near: Flags,
    cosines: Floats,
    into: int,
    may_merge: Flags,
    merged: Indices,
    cosine: Floats,
) -> None:
    chosen = near & may_merge[block] & (merged[block] < 0)
    merged[block[chosen]] = into
    cosine[block[chosen]] = cosines[chosen]


def _pairs(near: Flags, cosines: Floats, first: Indices, second: Indices) -> tuple[Indices, Indices, Floats]:
    rows, columns = np.nonzero(near)
    return first[rows], second[columns], cosines[rows, columns]


class MeaningOfItems:
    """Compares rows with all evaluation items of the same context."""

    def __init__(self, items: Indices, contexts: Indices, embeddings: Embeddings) -> None:
        """
        Args:
            items: Rows of the validated table.
            contexts: A number for each row of the validated table, equal where system prompt and tools are.
        """
        self._embeddings, self._contexts = embeddings, contexts
        self._numbers = np.flatnonzero(embeddings.known(items))
        self._items = items[self._numbers]
        self._vectors = embeddings.of(self._items)

    def close(self, rows: Indices, least: float) -> tuple[Indices, Indices, Floats]:
        """Pairs of a place in `rows` and an item whose cosine is at least `least`, by row, and that cosine."""
        places = np.flatnonzero(self._embeddings.known(rows))
        least -= ROUNDING
        cosines = self._embeddings.of(rows[places]) @ self._vectors.T
        same = self._contexts[rows[places]][:, None] == self._contexts[self._items]
        near, items = np.nonzero((cosines >= least) & same)
        return places[near], self._numbers[items], cosines[near, items]
