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
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Hashes = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]


class LexicalIndex:
    """Cosine similarity of queries to a fixed list of texts. Memory grows with the texts' length."""

    def __init__(self, texts: Sequence[str]) -> None:
        from scipy import sparse

        counts = _count_matrix(texts)
        present = np.bincount(counts.indices, minlength=BUCKETS)
        self._idf = (np.log((1 + len(texts)) / (1 + present)) + 1).astype(np.float32)
        self._texts = sparse.csr_array(self._weighted(counts))

    def similarities(self, queries: Sequence[str]) -> Floats:
        """Cosine in [0, 1] of each query to each text, shape (queries, texts). An empty text is close to
        none.
        """
        weighted = self._weighted(_count_matrix(queries))
        return np.asarray((weighted @ self._texts.T).todense(), dtype=np.float32)

    def _weighted(self, counts: Any) -> Any:
        # log(1 + count) damps repeated n-grams; unit length makes the product the cosine
        weighted = counts.copy()
        weighted.data = np.log1p(weighted.data) * self._idf[weighted.indices]
        lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
        lengths[lengths == 0] = 1
        weighted.data /= np.repeat(lengths, np.diff(weighted.indptr)).astype(np.float32)
        return weighted


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
    if not data:
        return np.empty(0, np.uint64)
    size = min(size, len(data))
    letters = np.frombuffer(data, np.uint8).astype(np.uint64)
    length = len(letters) - size + 1
    hashes = np.full(length, size, np.uint64)
    for offset in range(size):  # a polynomial hash, all windows at once; overflow wraps, as it should
        hashes = (hashes + letters[offset : offset + length]) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    return hashes


def _count_matrix(texts: Sequence[str]) -> Any:
    """Counts of hashed n-grams, a sparse array of shape (texts, BUCKETS)."""
    from scipy import sparse

    indices, data, lengths = [], [], []
    for text in texts:
        grams = _windows(_normalised(text)[-LONGEST_TEXT:], NGRAM_BYTES)
        columns, counts = np.unique(grams % np.uint64(BUCKETS), return_counts=True)
        indices.append(columns.astype(np.int32))
        data.append(counts.astype(np.float32))
        lengths.append(len(columns))
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    joined = (np.concatenate(data), np.concatenate(indices), indptr) if texts else ([], [], indptr)
    return sparse.csr_array(joined, shape=(len(texts), BUCKETS), dtype=np.float32)
