"""The leakage certificate: what was compared, how, with which result, and over which data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flywheel.config import LeakageConfig
from flywheel.curation.leakage.evaluation_side import LISTED, METHODS
from flywheel.curation.validated_table import numbers, read_columns, row_numbers

Indices = npt.NDArray[np.int64]

SCHEMA_VERSION = 1
SIDES = ("train", "validation", "evaluation")


class Closest:
    """The closest pairs of each method, a fixed number; of equally close ones the first by their ids."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pairs: dict[str, npt.NDArray[np.float64]] = {}

    def add(self, method: str, items: Indices, others: Indices, values: npt.NDArray[np.float64]) -> None:
        """Add pairs; items and others are positions in the assignment, which is sorted by id."""
        pairs = np.column_stack([-values, items, others])
        if method in self._pairs:
            pairs = np.vstack([self._pairs[method], pairs])
        self._pairs[method] = pairs[np.lexsort(pairs.T[::-1])][: self._most]

    def pairs(self, table: pa.Table) -> list[dict[str, Any]]:
        """The closest pairs over all methods, closest first."""
        every = [
            (*pair, method) for method, pairs in self._pairs.items() for pair in pairs[: self._most].tolist()
        ]
        names, sides = table["record_id"], table["split"]
        return [
            {
                "evaluation_id": names[int(item)].as_py(),
                "other_id": names[int(other)].as_py(),
                "split": sides[int(other)].as_py(),
                "method": method,
                "similarity": round(-value, 4),
            }
            for value, item, other, method in sorted(every)[: self._most]
        ]


def certificate(
    validated: Path,
    table: pa.Table,
    keep: npt.NDArray[np.bool_],
    config: LeakageConfig,
    *,
    rows_by_method: Mapping[str, int],
    closest: list[dict[str, Any]],
    removed: list[dict[str, Any]],
    fixed_text: Mapping[str, Any],
    same_meaning: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The document, its counts after the leaks were removed.

    Args:
        table: The assignment before, sorted by record id.
        keep: Which of its rows are left.
        rows_by_method: Rows that each method found to leak; a row may be found by several.
        closest: Pairs that remain; removed: pairs of which the training row was removed.
        fixed_text: What n-grams and shingles of training and validation rows were not taken of.
        same_meaning: What a comparison by meaning found, where there was one.
    """
    sides = np.asarray(table["split"].to_pylist(), dtype=object)
    before = {side: int((sides == side).sum()) for side in SIDES}
    left = {side: int((keep & (sides == side)).sum()) for side in SIDES}
    notes = []
    if before["validation"] and not left["validation"]:
        notes.append(
            "Every validation row overlapped with evaluation; fine-tuning has none to watch its loss on."
        )
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": "clean",
        **left,
        "leaks_removed": int((~keep).sum()),
        "removed_from": {side: before[side] - left[side] for side in ("train", "validation")},
        "pairs_compared": before["evaluation"] * (before["train"] + before["validation"]),
        "leaking_rows": dict(rows_by_method),
        "thresholds": config.model_dump(),
        "methods": METHODS,
        "fixed_text_left_out": dict(fixed_text),
        **({"same_meaning": dict(same_meaning)} if same_meaning else {}),
        "listed": "Pairs below a threshold are listed if the search met them, down to "
        f"{LISTED} of a threshold.",
        "notes": notes,
        "closest_pairs_left": closest,
        "closest_pairs_removed": removed,
        "sha256": _content(validated, table, keep, sides),
    }


def _content(
    validated: Path, table: pa.Table, keep: npt.NDArray[np.bool_], sides: npt.NDArray[np.object_]
) -> dict[str, dict[str, str]]:
    """SHA-256 over each side's sorted record ids (a line each) and over its sorted request hashes."""
    rows = numbers(table["row"])
    requests = read_columns(validated, ["request_hash"])["request_hash"]
    content = {}
    for side in SIDES:
        places = np.flatnonzero(keep & (sides == side))
        ids = sorted(table["record_id"].take(row_numbers(places)).to_pylist())
        hashes = sorted(requests.take(row_numbers(rows[places])).to_pylist())
        content[side] = {
            "record_ids": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
            "requests": hashlib.sha256(b"".join(hashes)).hexdigest(),
        }
    return content
