"""The text that an application puts into every request, and requests without it.

Where the template stands in the user's message, sixty of sixty-five words are the same in each request. Compared as
they are, all of them would be near-duplicates; what tells them apart is the rest, their own text. So deduplication,
the leakage check, the memory of earlier runs and the choice of in-context examples compare that.

A fixed text is known by its windows of `WINDOW` bytes; `flywheel.curation.texts.fixed_text_search` finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flywheel.curation.texts.shingles import Bytes, Indices, Words, window_hashes
from flywheel.curation.validated_table import text_bytes

Flags = npt.NDArray[np.bool_]

WINDOW = 32
"""Bytes. Shorter texts are greetings and set phrases, and too small a part of a request to matter."""
_SPACE = 32
_BLANK = 32  # this byte and those before it are white space
_PREFIX_BITS = 16


class OwnText(NamedTuple):
    """Texts end to end, without the fixed text; where they and their marks begin."""

    data: Bytes
    offsets: Indices
    marks: Indices


class LeftOut(NamedTuple):
    """How much of the texts was fixed."""

    records: int = 0
    bytes: int = 0
    of_bytes: int = 0

    def __add__(self, other: Any) -> LeftOut:
        return LeftOut(*(mine + its for mine, its in zip(self, other, strict=True)))


class FixedText:
    """The windows of the fixed text. Without any, texts stay as they are."""

    def __init__(self, windows: Words | None = None, examples: Sequence[str] = ()) -> None:
        """
        Args:
            windows: Hashes, as `window_hashes` gives them; their order does not matter.
            examples: The fixed text for people to read, an ellipsis where requests have their own.
        """
        self.windows: Words = np.unique(windows) if windows is not None else np.zeros(0, dtype=np.uint64)
        self.examples = list(examples)
        self._shift = np.uint64(64 - _PREFIX_BITS)
        self._prefixes = np.zeros(1 << _PREFIX_BITS, dtype=bool)  # says no to most, from the cache
        self._prefixes[(self.windows >> self._shift).astype(np.int64)] = True

    def __bool__(self) -> bool:
        return bool(self.windows.size)

    def report(self, left_out: LeftOut) -> dict[str, Any]:
        """What the manifest and the certificate say: requests shortened, and the share of all text left out."""
        share = left_out.bytes / left_out.of_bytes if left_out.of_bytes else 0.0
        return {"records": left_out.records, "share_of_text": round(share, 4), "examples": self.examples}

    def covers(self, data: Bytes, offsets: Indices) -> Flags:
        """Which bytes are fixed, of texts that stand end to end: whole characters, inside a window."""
        edges = np.zeros(data.size + 1, dtype=np.int32)
        hashes = window_hashes(data, WINDOW)
        likely = np.flatnonzero(self._prefixes[(hashes >> self._shift).astype(np.int64)])
        places = np.minimum(np.searchsorted(self.windows, hashes[likely]), max(self.windows.size - 1, 0))
        hits = likely[self.windows[places] == hashes[likely]] if self.windows.size else likely[:0]
        hits = hits[hits + WINDOW <= offsets[np.searchsorted(offsets, hits, side="right")]]
        np.add.at(edges, hits, 1)
        np.add.at(edges, hits + WINDOW, -1)
        covered: Flags = np.cumsum(edges[:-1]) > 0
        begins = (data & 0xC0) != 0x80  # a UTF-8 byte that is not a continuation begins a character
        if hits.size and not begins.all():
            whole = np.minimum.reduceat(covered, np.flatnonzero(begins))
            covered = whole[np.cumsum(begins) - 1]
        return covered

    def cut(self, data: Bytes, offsets: Indices, marks: Indices | None = None) -> tuple[OwnText, LeftOut]:
        """Texts with each fixed stretch made one space; a text with nothing of its own stays whole.

        Args:
            marks: Places in `data` of which the new ones are asked for; a stretch is cut in two there.
        """
        marks = np.zeros(0, dtype=np.int64) if marks is None else marks
        if not self or not data.size:
            return OwnText(data, offsets, marks), LeftOut(0, 0, int(data.size))
        covered = self.covers(data, offsets)
        own = np.concatenate([[0], np.cumsum(~covered & (data > _BLANK))])
        whole = own[offsets[1:]] == own[offsets[:-1]]
        covered &= ~np.repeat(whole, np.diff(offsets))
        first = covered.copy()
        first[1:] &= ~covered[:-1]
        breaks = np.concatenate([offsets[:-1], marks])
        breaks = breaks[breaks < data.size]
        first[breaks] |= covered[breaks]
        kept = ~covered | first
        before = np.concatenate([[0], np.cumsum(kept)])
        shortened = np.where(first, np.uint8(_SPACE), data)[kept]
        cut = np.diff(offsets) - np.diff(before[offsets])
        left_out = LeftOut(int((cut > 0).sum()), int(cut.sum()), int(data.size))
        return OwnText(shortened, before[offsets], before[marks]), left_out

    def own(self, texts: pa.Array) -> tuple[pa.Array, LeftOut]:
        """A column of texts, cut; of the same type."""
        if not self:
            return texts, LeftOut()
        (data, offsets, _), left_out = self.cut(*text_bytes(texts))
        buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(data)]
        return pa.Array.from_buffers(pa.large_string(), len(texts), buffers).cast(texts.type), left_out

    def own_texts(self, texts: Sequence[str]) -> list[str]:
        """Some texts, cut."""
        if not self:
            return list(texts)
        parts = [text.encode("utf-8", "surrogatepass") for text in texts]
        data = np.frombuffer(b"".join(parts), dtype=np.uint8)
        (data, offsets, _), _ = self.cut(
            data, np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        )
        return [
            data[begin:end].tobytes().decode("utf-8", "surrogatepass")
            for begin, end in pairwise(offsets.astype(int).tolist())
        ]


NO_FIXED_TEXT = FixedText()
