"""Leaving records out of training after the split, where production contradicts itself on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from flywheel.config import DedupConfig
from flywheel.curation.duplicates.contradictions import screening_of
from flywheel.curation.output_directory import append_lines
from flywheel.curation.rejected_rows import RejectedRows, write_rejected
from flywheel.curation.schema import ASSIGNMENT, ASSIGNMENT_FILE, REJECTED_FILE
from flywheel.curation.validated_table import flags, numbers
from flywheel.errors import TooFewRecordsError

REASON = "contradicted"
WHY = "Production answered the same request in materially different ways; see dedup_config.contradictions."
TRAINING = ("train", "validation")


def screened(
    counts: dict[str, Any],
    out: Path,
    validated: Path,
    config: DedupConfig,
    constants: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The split in `out` as `dedup_config.contradictions` asks for it; see `leave_out_of_training`."""
    if config.contradictions == "keep":
        return counts
    return leave_out_of_training(counts, out, validated, screening_of(validated, config).rows, constants)


def leave_out_of_training(
    counts: Mapping[str, Any],
    out: Path,
    validated: Path,
    rows: Collection[int],
    constants: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Take rows out of the training sides of the split in `out`, and add them to its `rejected.jsonl`.

    Args:
        counts: What the split has counted.
        rows: Row numbers of the validated table; those of evaluation items stay.
        constants: Fields that all records share and the validated table does not hold.
    Returns:
        The counts as they are then, with `contradicted`.
    Raises:
        TooFewRecordsError: Nothing is left to train on.
    """
    with pq.ParquetFile(out / ASSIGNMENT_FILE) as file:
        table = file.read(use_threads=False)
    sides = np.asarray(table["split"].to_pylist(), dtype=object)
    gone = np.isin(numbers(table["row"]), np.array(sorted(rows), dtype=np.int64)) & np.isin(sides, TRAINING)
    if not gone.any():
        return {**counts, REASON: 0}
    left = table.filter(flags(~gone))
    if "train" not in set(left["split"].to_pylist()):
        raise TooFewRecordsError(
            f"Of {int((sides == 'train').sum())} records to train on, production answered all in more than one way. "
            "Set dedup_config.contradictions to 'majority' or 'keep', or read more of the log."
        )
    pq.write_table(left.cast(ASSIGNMENT), out / ASSIGNMENT_FILE)
    refused = np.sort(numbers(table["row"])[gone])
    with TemporaryDirectory(dir=out) as beside:
        reasons = [(REASON, WHY)] * refused.size
        write_rejected(RejectedRows(validated, Path(beside), refused, reasons, constants))
        append_lines(Path(beside) / REJECTED_FILE, out / REJECTED_FILE)
    return {**counts, **_counted(left.to_pylist(), counts), REASON: int(refused.size)}


def _counted(rows: list[dict[str, Any]], before: Mapping[str, Any]) -> dict[str, Any]:
    of = {side: [row for row in rows if row["split"] == side] for side in before["clusters"]}
    return {
        **{side: len(group) for side, group in of.items()},
        "clusters": {side: len({row["cluster"] for row in group}) for side, group in of.items()},
        "classes": {
            side: dict(sorted(Counter(row["answer_class"] for row in group).items()))
            for side, group in of.items()
        },
    }
