"""Texts in the form in which the leakage check compares them, and hashes of any stretch of them.

Normalised: Unicode NFKC, case folded, and every run of punctuation, symbols and white space one space. An ideograph
or kana is a word of its own, since such scripts have no spaces.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flywheel.curation.arrow_columns import column as column_of
from flywheel.curation.validated_table import flags, text_bytes

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

_SPACE = 32
_BASE = 0x8B5AD4CE9C6A7E35  # odd, so it has an inverse modulo 2^64
_LEAST_BITS = 16
_REMEMBERED = 1 << 20  # bytes of text for which the powers are kept: 32 MB at most


class Normalised(NamedTuple):
    """Normalised texts, UTF-8: text i is `data[starts[i]:ends[i]]`."""

    data: Bytes
    starts: Indices
    ends: Indices

    def text(self, index: int) -> bytes:
        return self.data[self.starts[index] : self.ends[index]].tobytes()


class Normaliser:
    """Normalises columns of texts; remembers which characters separate words."""

    def __init__(self) -> None:
        self._ascii = np.full(256, _SPACE, dtype=np.uint8)
        for byte in range(128, 256):  # what is left of other scripts was normalised before
            self._ascii[byte] = byte
        for letter in b"abcdefghijklmnopqrstuvwxyz0123456789":
            self._ascii[letter] = letter
            self._ascii[ord(chr(letter).upper())] = letter
        self._others = _Separators()

    def __call__(self, column: pa.Array) -> Normalised:
        data, offsets = text_bytes(column)
        beyond_ascii = np.flatnonzero(data >= 128)
        if beyond_ascii.size:
            mask = np.zeros(len(column), dtype=bool)
            mask[np.searchsorted(offsets, beyond_ascii, side="right") - 1] = True
            spelled = [self._fold(text) for text in column.filter(flags(mask)).to_pylist()]
            replaced = pc.replace_with_mask(column, flags(mask), column_of(spelled, column.type))
            data, offsets = text_bytes(replaced)
        folded = self._ascii[data]
        separates = folded == _SPACE
        after_separator = np.empty_like(separates)
        after_separator[1:] = separates[:-1]
        begins = offsets[:-1][offsets[:-1] < offsets[1:]]
        after_separator[begins] = True
        kept = ~(separates & after_separator)
        folded = folded[kept]
        bounds = np.concatenate([[0], np.cumsum(kept)])[offsets]
        starts, ends = bounds[:-1], bounds[1:].copy()
        filled = np.flatnonzero(ends > starts)
        ends[filled] -= folded[ends[filled] - 1] == _SPACE
        return Normalised(folded, starts, ends)

    def one(self, text: str) -> bytes:
        """One normalised text."""
        return self(column_of([text], pa.string())).text(0)

    def _fold(self, text: str) -> str:
        return unicodedata.normalize("NFKC", text).casefold().translate(self._others)


class _Separators(dict[int, str | int]):
    """A `str.translate` table, filled as characters are met."""

    def __missing__(self, code: int) -> str | int:
        character = chr(code)
        found: str | int = code
        if unicodedata.category(character)[0] in "PSZC":
            found = " "
        elif 0x3040 <= code <= 0x30FF or 0x3400 <= code <= 0x9FFF or 0x20000 <= code <= 0x3FFFF:
            found = f" {character} "
        self[code] = found
        return found


class Stretches:
    """Hashes of stretches of normalised texts; equal bytes have equal hashes, wherever they stand.

    A polynomial hash from running sums, modulo 2^64, so that a stretch of any length costs the same. It shares
    nothing with the hashes that near-duplicates are found by. Source: Karp and Rabin 1987, with the sums of a
    prefix in place of a rolling window.
    """

    def __init__(self, texts: Normalised) -> None:
        self.texts = texts
        size = texts.data.size
        sums = np.zeros(size + 1, dtype=np.uint64)
        np.cumsum(_powers(_BASE, size)[:size] * texts.data, out=sums[1:])
        self._sums = sums
        self._inverse = _powers(pow(_BASE, -1, 1 << 64), size)

    def of(self, chosen: Indices) -> Stretches:
        """The same of some of the texts, by their numbers."""
        texts = self.texts
        lengths = texts.ends[chosen] - texts.starts[chosen]
        ends = np.cumsum(lengths)
        places = np.arange(lengths.sum()) + np.repeat(texts.starts[chosen] - (ends - lengths), lengths)
        return Stretches(Normalised(texts.data[places], ends - lengths, ends))

    def hashes(self, begins: Indices, ends: Indices) -> Words:
        """Hashes of the stretches from `begins` to `ends`."""
        words = self._sums[ends] - self._sums[begins]
        words *= self._inverse[begins]
        return _finish(words, (ends - begins).astype(np.uint64))

    def whole(self) -> Words:
        """The hash of each text."""
        return self.hashes(self.texts.starts, self.texts.ends)

    def windows(self, size: int) -> tuple[Words, Indices]:
        """Hashes of all windows of `size` bytes, and the text of each, ascending. A shorter text has none."""
        starts, ends = self.texts.starts, self.texts.ends
        counts = np.maximum(ends - starts - (size - 1), 0)
        owners = np.repeat(np.arange(starts.size), counts)
        span = self.texts.data.size - size + 1
        if span <= 0:
            return np.zeros(0, dtype=np.uint64), owners
        inside = np.zeros(span + 1, dtype=np.int8)
        held = counts > 0
        inside[starts[held]] += 1
        inside[(starts + counts)[held]] -= 1
        chosen = np.cumsum(inside[:-1], dtype=np.int8).astype(bool)
        words = self._sums[size:] - self._sums[:span]
        words *= self._inverse[:span]
        return _finish(words[chosen], np.uint64(size)), owners

    def word_ngrams(self, size: int) -> tuple[Words, Indices]:
        """Hashes of all runs of `size` words, and the text of each, ascending. A shorter text has none."""
        starts, ends = self.texts.starts, self.texts.ends
        spaces = np.flatnonzero(self.texts.data == _SPACE)
        filled = np.flatnonzero(ends > starts)
        # A word begins at a text's start and after each space inside; it ends at a space inside or the text's end.
        text_of_space = np.searchsorted(starts, spaces, side="right") - 1
        inside = spaces < ends[text_of_space] if spaces.size else np.zeros(0, dtype=bool)
        begins = np.sort(np.concatenate([starts[filled], spaces[inside] + 1]))
        stops = np.sort(np.concatenate([ends[filled], spaces[inside]]))
        if begins.size < size:
            return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
        first, last = begins[: begins.size - size + 1], stops[size - 1 :]
        owners = np.searchsorted(starts, first, side="right") - 1
        one_text = last <= ends[owners]
        return self.hashes(first[one_text], last[one_text]), owners[one_text]


def _powers(base: int, most: int) -> Words:
    """The powers of a number modulo 2^64, from the zeroth to at least the given one."""
    return (
        _table_of_powers(base, max(most.bit_length(), _LEAST_BITS))
        if most < _REMEMBERED
        else _made(base, most)
    )


@lru_cache(maxsize=2 * (_REMEMBERED.bit_length() - _LEAST_BITS))
def _table_of_powers(base: int, bits: int) -> Words:
    """Batches ask for the same powers again and again."""
    table = _made(base, (1 << bits) - 1)
    table.flags.writeable = False
    return table


def _made(base: int, most: int) -> Words:
    powers = np.full(most + 1, base, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


def _finish(words: Words, lengths: Words | np.uint64) -> Words:
    words = words + lengths
    words ^= words >> np.uint64(32)
    words *= np.uint64(0x9FB21C651E98DF25)
    words ^= words >> np.uint64(28)
    return words
