"""Training rows that ask in other words what an evaluation item asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flywheel.config import SemanticLeakageConfig
from flywheel.curation.duplicates.same_meaning import MeaningOfItems
from flywheel.curation.leakage.certificate import Closest
from flywheel.curation.leakage.evaluation_side import Found
from flywheel.curation.texts.embeddings import Embeddings
from flywheel.curation.validated_table import codes, read_columns

Indices = npt.NDArray[np.int64]

SAME_MEANING = "same_meaning"
DESCRIPTION = "Cosine of the vectors of two conversations under one system prompt and one set of tools."
LISTED = 0.9
"""Pairs that reach this share of the threshold are candidates for the list of the closest."""


class SemanticCheck:
    """Compares rows with the evaluation items by meaning, and remembers what there is to tell."""

    def __init__(
        self,
        validated: Path,
        items: Indices,
        embeddings: Embeddings,
        config: SemanticLeakageConfig,
        most: int,
    ) -> None:
        """
        Args:
            items: Rows of the validated table.
            most: How many of the closest pairs to list.
        """
        self._config = config
        self._embeddings = embeddings
        self._without = int((~embeddings.known(items)).sum())
        self._close_rows = 0
        contexts = codes(read_columns(validated, ["context_hash"])["context_hash"])
        self._items = MeaningOfItems(items, contexts, embeddings)
        self.closest = Closest(most)
        """Pairs that are left."""

    @property
    def removes(self) -> bool:
        """Whether what is found is a leak."""
        return self._config.mode == "remove"

    def found(self, rows: Indices) -> Found:
        """What is close to an item among some rows of the validated table."""
        threshold = self._config.similarity_threshold
        places, items, cosines = self._items.close(rows, LISTED * threshold)
        self._without += int((~self._embeddings.known(rows)).sum())
        # cosines of equal vectors are one but for rounding
        values = np.where(np.isclose(cosines, threshold, rtol=0, atol=1e-6), threshold, cosines).astype(
            np.float64
        )
        self._close_rows += np.unique(places[values >= threshold]).size
        return Found(SAME_MEANING, threshold, places, items, np.minimum(values, 1.0))

    def report(self, table: pa.Table) -> dict[str, Any]:
        """What the certificate says. `table`: the assignment, sorted by record id."""
        return {
            "mode": self._config.mode,
            "method": DESCRIPTION,
            "similarity_threshold": self._config.similarity_threshold,
            "rows_that_reach_it": self._close_rows,
            "without_vector": self._without,
            "closest_pairs_left": self.closest.pairs(table),
        }
