"""Hashes of the byte shingles of many texts at once.

A shingle is a window of `size` bytes of a text's UTF-8 form. A text shorter than that is one shingle as a whole;
an empty text has none. All hashes are fixed functions of the bytes: the same in every process, for ever.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def mix(words: Words) -> Words:
    """Spread the bits of 64-bit numbers, one to one. Source: the finaliser of SplitMix64, Steele et al. 2014."""
    words = words ^ (words >> np.uint64(30))
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def shingle_hashes(data: Bytes, offsets: Indices, size: int) -> tuple[Words, Indices]:
    """Hash every shingle of texts that stand end to end.

    Args:
        data: The bytes of all texts, shape (offsets[-1],).
        offsets: Where each text begins, and the end of the last, shape (n + 1,).
        size: Length of a shingle, in bytes.
    Returns:
        One hash for each shingle, repeats included, and the text it belongs to, ascending; each of shape
        (number of shingles,).
    """
    lengths = np.diff(offsets)
    short = np.flatnonzero((lengths > 0) & (lengths < size))
    counts = np.maximum(lengths - (size - 1), 0)
    windows = _windows(data, size)
    inside = np.ones(windows.size, dtype=bool)
    starts, ends = offsets[:-1][lengths > 0], offsets[1:][lengths > 0]
    for back in range(1, size):  # the windows that would run into the next text
        crossing = np.maximum(ends - back, starts)
        inside[crossing[crossing < windows.size]] = False
    hashes = _scramble(windows[inside])
    owners = np.repeat(np.arange(lengths.size, dtype=np.int64), counts)
    if not short.size:
        return hashes, owners
    whole = [
        int.from_bytes(
            hashlib.blake2b(data[offsets[i] : offsets[i + 1]].tobytes(), digest_size=8).digest(), "little"
        )
        for i in short
    ]
    places = np.searchsorted(owners, short)
    return np.insert(hashes, places, np.array(whole, np.uint64)), np.insert(owners, places, short)


def window_hashes(data: Bytes, size: int) -> Words:
    """The hash of the window that begins at each byte, those that run from one text into the next included."""
    return _scramble(_windows(data, size))


def gather(data: Bytes, starts: Indices, ends: Indices) -> tuple[Bytes, Indices]:
    """Copy slices of `data` end to end; returns the bytes and their offsets, shape (number of slices + 1,)."""
    offsets = np.concatenate([[0], np.cumsum(ends - starts)])
    places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], ends - starts)
    return np.asarray(data[places]), offsets


def _windows(data: Bytes, size: int) -> Words:
    """A number for each window; up to eight bytes it is the window itself, so that no two collide."""
    count = max(data.size - size + 1, 0)
    padded = np.concatenate(
        [data, np.zeros(size + 8, dtype=np.uint8)]
    )  # windows are read eight bytes at a time

    def eight_bytes_from(place: int) -> Words:
        return np.ndarray(count, dtype="<u8", buffer=padded, offset=place, strides=(1,))

    if size <= 8:
        return eight_bytes_from(0) & np.uint64((1 << 8 * size) - 1)
    words = eight_bytes_from(0).copy()
    for place in [*range(8, size - 8, 8), size - 8]:
        words = _scramble(words)
        words += eight_bytes_from(place)
    return words


def _scramble(words: Words) -> Words:
    """A cheaper `mix`, in place: enough where only the upper bits of each half are looked at."""
    words *= _MULTIPLIER
    words ^= words >> np.uint64(32)
    words *= np.uint64(0xD6E8FEB86659FD93)
    return words
