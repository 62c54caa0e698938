"""Which texts are close to a text, by the characters they share: no model, no network, one sparse matrix.

TF-IDF over hashed character n-grams and cosine similarity; short prompts of one workload differ in a few
words, and character n-grams see those in every language. Near-copies are told by the exact Jaccard similarity
of shingles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

NGRAM_BYTES = 5
BUCKETS = 1 << 18
LONGEST_TEXT = 8_000  # bytes of a text that are looked at, from its end: where the question stands
SHINGLE_BYTES = 5
BLOCK = 512  # texts hashed at once
COMMON = 0.2
"""Share of the texts from which an n-gram tells nothing: greetings, set phrases. Leaving them out makes the
product several times cheaper."""
ENOUGH_TO_KNOW = 200  # texts below which no n-gram is called common
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Hashes = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]


class LexicalIndex:
    """Cosine similarity of queries to a fixed list of texts. Memory grows with the texts' length."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = _count_matrix(texts)
        present = np.bincount(counts.indices, minlength=BUCKETS)
        self._idf = (np.log((1 + len(texts)) / (1 + present)) + 1).astype(np.float32)
        if len(texts) >= ENOUGH_TO_KNOW:
            self._idf[present > COMMON * len(texts)] = 0
        self._by_gram = self._weighted(counts).T.tocsr()

    def similarities(self, queries: Sequence[str]) -> Floats:
        """Cosine in [0, 1] of each query to each text, shape (queries, texts); an empty text is close to
        none.
        """
        weighted = self._weighted(_count_matrix(queries))
        return np.asarray((weighted @ self._by_gram).todense(), dtype=np.float32)

    def _weighted(self, counts: Any) -> Any:
        # log(1 + count) damps repeated n-grams; unit length makes the product the cosine
        counts.data = np.log1p(counts.data) * self._idf[counts.indices]
        counts.eliminate_zeros()
        squares = np.concatenate([[0.0], np.cumsum(np.square(counts.data, dtype=np.float64))])[counts.indptr]
        lengths = np.sqrt(np.diff(squares)).astype(np.float32)
        counts.data /= np.repeat(lengths, np.diff(counts.indptr))
        return counts


def shingles(text: str, size: int = SHINGLE_BYTES) -> Hashes:
    """Sorted distinct hashes of the text's byte shingles, case and runs of white space aside.

    A text shorter than a shingle is its own only shingle; an empty one has none.
    """
    return np.unique(_windows(_normalised(text), size))


def jaccard(a: Hashes, b: Hashes) -> float:
    """Size of the intersection over size of the union, 0 when either is empty."""
    if len(a) == 0 or len(b) == 0:
        return 0.0
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def _normalised(text: str) -> bytes:
    return " ".join(text.lower().split()).encode("utf-8", "surrogatepass")


def _windows(data: bytes, size: int) -> Hashes:
    """Hashes of all windows of `size` bytes, of the whole where it is shorter."""
    if not data:
        return np.empty(0, np.uint64)
    return _hash_windows(np.frombuffer(data, np.uint8), min(size, len(data)))


def _hash_windows(letters: npt.NDArray[np.uint8], size: int) -> Hashes:
    letters = letters.astype(np.uint64)
    length = len(letters) - size + 1
    hashes = np.full(length, size, np.uint64)
    for offset in range(size):  # a polynomial hash, all windows at once; overflow wraps, as it should
        hashes += letters[offset : offset + length]
        hashes *= _MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    return hashes


def _count_matrix(texts: Sequence[str]) -> Any:
    """Counts of hashed n-grams, a sparse array of shape (texts, BUCKETS)."""
    from scipy import sparse

    blocks = [_count_block(texts[start : start + BLOCK]) for start in range(0, len(texts), BLOCK)]
    return sparse.vstack(blocks, format="csr") if blocks else sparse.csr_array((0, BUCKETS), dtype=np.float32)


def _count_block(texts: Sequence[str]) -> Any:
    """The same for some texts at once: their bytes are hashed as one, and windows across two texts left out."""
    from scipy import sparse

    data = [_normalised(text)[-LONGEST_TEXT:] for text in texts]
    data = [text.ljust(NGRAM_BYTES, b"\0") if text else b"" for text in data]
    letters = np.frombuffer(b"".join(data) + bytes(NGRAM_BYTES), np.uint8)
    windows = np.array([max(0, len(text) - NGRAM_BYTES + 1) for text in data])
    sizes = np.array([len(text) for text in data])
    of_text = np.repeat(np.arange(len(texts)), windows)
    inside = np.arange(len(of_text)) - np.repeat(np.cumsum(windows) - windows, windows)
    hashes = _hash_windows(letters, NGRAM_BYTES)[np.repeat(np.cumsum(sizes) - sizes, windows) + inside]
    cells = of_text * BUCKETS + (hashes % np.uint64(BUCKETS)).astype(np.int64)
    cells, counts = np.unique(cells, return_counts=True)
    indptr = np.searchsorted(cells, np.arange(len(texts) + 1) * BUCKETS)
    return sparse.csr_array((counts.astype(np.float32), cells % BUCKETS, indptr), shape=(len(texts), BUCKETS))
