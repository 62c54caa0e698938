"""Vectors of texts: who makes them is handed in; here they are compared, exactly, by one matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from flywheel.datasets.similarity import Floats
from flywheel.progress import Progress

TextKind = Literal["query", "passage"]
"""What a text is for: models of the asymmetric kind embed what is searched for and what is found differently."""


class Embedder(Protocol):
    """Makes vectors of texts."""

    def embed(self, texts: Sequence[str], kind: TextKind, progress: Progress) -> Floats:
        """Unit vectors, shape (texts, dimensions); a row of NaN for a text that could not be embedded.

        Raises: RemoteError where no text at all could be.
        """


def unit_rows(vectors: npt.NDArray[np.float32]) -> Floats:
    """Rows scaled to length 1; one without a length, or with a number that is none, becomes NaN."""
    lengths = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1))
    lengths = np.where(np.isfinite(lengths) & (lengths > 0), lengths, np.nan)
    return (vectors / lengths[:, None]).astype(np.float32)


def closeness(queries: Floats, passages: Floats) -> Floats:
    """Cosine of each query to each passage, shape (queries, passages); NaN where either has no vector."""
    return queries @ passages.T
