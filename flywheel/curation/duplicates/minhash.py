"""MinHash signatures of many texts at once, and the bands that bring similar ones together.

One-permutation MinHash: each shingle's hash falls into one of `permutations` bins by its upper half, and a bin keeps
the smallest lower half. Two texts agree in a bin with a probability of about the Jaccard similarity of their
shingles. A bin that got nothing copies another, chosen by a fixed random sequence of that bin's own (optimal
densification), so that the estimate stays unbiased for short texts.

Sources: Li, Owen and Zhang 2012, One Permutation Hashing; Shrivastava 2017, Optimal Densification for Fast and
Accurate Minwise Hashing (ICML).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flywheel.curation.texts.shingles import Bytes, Indices, mix, shingle_hashes

Signatures = npt.NDArray[np.uint16]
Keys = npt.NDArray[np.uint32]

_EMPTY = np.uint32(0xFFFFFFFF)
_ATTEMPTS = 48
_RECALL = 0.999


def signatures(data: Bytes, offsets: Indices, shingle_size: int, permutations: int) -> Signatures:
    """MinHash signatures of texts that stand end to end, shape (n, permutations).

    A text without shingles gets an arbitrary signature: leave it out of every comparison. Of each minimum 16 bits
    are kept, which makes unequal ones agree once in 65,536 and a signature half as large.
    """
    count = offsets.size - 1
    hashes, owners = shingle_hashes(data, offsets, shingle_size)
    upper = (hashes >> np.uint64(32)) * np.uint64(permutations) >> np.uint64(32)
    cells = owners * permutations + upper.astype(np.int64)
    minima = np.full(count * permutations, _EMPTY, dtype=np.uint32)
    np.minimum.at(minima, cells, hashes.astype(np.uint32))
    table = minima.reshape(count, permutations)
    _densify(table)
    table *= np.uint32(0x9E3779B1)  # a minimum of many is small; its upper bits alone would say little
    table ^= table >> np.uint32(15)
    table *= np.uint32(0x85EBCA77)
    return (table >> np.uint32(16)).astype(np.uint16)


def _densify(table: npt.NDArray[np.uint32]) -> None:
    """Fill empty bins in place from others of the same row."""
    permutations = table.shape[1]
    rows, bins = np.nonzero(table == _EMPTY)
    if not rows.size:
        return
    filled = np.full(rows.size, _EMPTY, dtype=np.uint32)
    waiting = np.arange(rows.size)
    choices = _sequences(permutations)
    for attempt in range(_ATTEMPTS):
        found = table[rows[waiting], choices[attempt, bins[waiting]]]
        filled[waiting] = found
        waiting = waiting[found == _EMPTY]
        if not waiting.size:
            break
    if waiting.size:  # very few shingles: the smallest of the row, which equal rows share
        filled[waiting] = table.min(axis=1)[rows[waiting]]
    table[rows, bins] = filled


def _sequences(permutations: int) -> Indices:
    """For each bin the bins to copy from, in order of preference, shape (attempts, permutations)."""
    seeds = mix(np.arange(1, _ATTEMPTS * permutations + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    chosen = (seeds >> np.uint64(32)) * np.uint64(permutations) >> np.uint64(32)
    return chosen.astype(np.int64).reshape(_ATTEMPTS, permutations)


def choose_bands(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows of each band for a similarity threshold.

    A pair of similarity s shares at least one of b bands of r rows with probability 1 - (1 - s^r)^b. Chosen is the
    largest r, so the fewest needless comparisons, with which that is at least 0.999 at the threshold itself, where
    b = permutations // r. Source: Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4.
    """
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= _RECALL:
            return bands, rows
    return permutations, 1


def band_keys(table: Signatures, bands: int, rows: int) -> Keys:
    """For each band one number for each text, shape (bands, n), that equal bands share.

    Unequal bands share one by chance once in four billion pairs, which costs a comparison and nothing else.
    """
    parts = table[:, : bands * rows].reshape(-1, bands, rows)
    keys = np.zeros((table.shape[0], bands), dtype=np.uint64)
    for row in range(rows):
        keys ^= parts[:, :, row]
        keys *= np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(29)
    return (keys >> np.uint64(32)).astype(np.uint32).T


def estimated_similarity(table: Signatures, first: Indices, second: Indices) -> npt.NDArray[np.float32]:
    """The share of bins in which texts agree, pair by pair, shape (pairs,)."""
    estimates = np.empty(first.size, dtype=np.float32)
    for start in range(0, first.size, 16_384):
        end = start + 16_384
        estimates[start:end] = (table[first[start:end]] == table[second[start:end]]).mean(
            axis=1, dtype=np.float32
        )
    return estimates
