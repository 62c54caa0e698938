"""Jaccard similarity of texts' shingles: exact, for many pairs at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from flywheel.curation.side_by_side import side_by_side
from flywheel.curation.texts.shingles import Bytes, Indices, Words, gather, shingle_hashes

_HASH_BITS = np.uint64(
    40
)  # with the number of a pair or text above them; two shingles of a pair meet once in 10^7
_CHUNK_BYTES = 400_000


def jaccard(
    data: Bytes, starts: Indices, ends: Indices, first: Indices, second: Indices, shingle_size: int
) -> npt.NDArray[np.float32]:
    """Size of the intersection over size of the union of two texts' sets of shingles, pair by pair, shape (pairs,).

    Text i is `data[starts[i]:ends[i]]`. A pair with an empty text has similarity 0.
    """
    cost = np.cumsum((ends - starts)[first] + (ends - starts)[second])
    bounds = [0]
    while bounds[-1] < first.size:
        spent = cost[bounds[-1] - 1] if bounds[-1] else 0
        bounds.append(max(bounds[-1] + 1, int(np.searchsorted(cost, spent + _CHUNK_BYTES, side="right"))))

    def compare(begin: int, end: int) -> npt.NDArray[np.float64]:
        texts, places = np.unique(np.concatenate([first[begin:end], second[begin:end]]), return_inverse=True)
        sets, owners = _sets(data, starts[texts], ends[texts], shingle_size)
        return _pairwise(sets, owners, texts.size, places[: end - begin], places[end - begin :])

    similarities = np.zeros(first.size, dtype=np.float32)
    spans = list(pairwise(bounds))
    if len(spans) <= 1:
        for begin, end in spans:
            similarities[begin:end] = compare(begin, end)
        return similarities
    for (begin, end), chunk in zip(spans, side_by_side(lambda span: compare(*span), spans), strict=True):
        similarities[begin:end] = chunk
    return similarities


def _sets(data: Bytes, starts: Indices, ends: Indices, size: int) -> tuple[Words, Indices]:
    """The distinct shingle hashes of each text, and the texts they belong to, ascending."""
    hashes, owners = shingle_hashes(*gather(data, starts, ends), size)
    keys = np.sort(owners.astype(np.uint64) << _HASH_BITS | hashes >> np.uint64(64) - _HASH_BITS)
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if keys.size else keys
    return keys & (np.uint64(1) << _HASH_BITS) - np.uint64(1), (keys >> _HASH_BITS).astype(np.int64)


def _pairwise(
    hashes: Words, owners: Indices, texts: int, first: Indices, second: Indices
) -> npt.NDArray[np.float64]:
    sizes = np.bincount(owners, minlength=texts)
    begins = np.cumsum(sizes) - sizes
    pairs = np.tile(np.arange(first.size), 2)
    members = np.concatenate([first, second])
    counts = sizes[members]
    ends = np.cumsum(counts)
    places = np.arange(ends[-1]) + np.repeat(begins[members] - (ends - counts), counts)
    keys = np.sort(np.repeat(pairs, counts).astype(np.uint64) << _HASH_BITS | hashes[places])
    twice = keys[1:][keys[1:] == keys[:-1]]
    shared = np.bincount((twice >> _HASH_BITS).astype(np.int64), minlength=first.size)
    union = sizes[first] + sizes[second] - shared
    return np.asarray(shared / np.maximum(union, 1))
