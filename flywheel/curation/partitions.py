"""A partition of a log, extracted and validated by itself, and the partitions joined to what one machine makes.

    OUT/extracted/rejected.jsonl      unreadable lines of the partition
    OUT/validated/validated-*.parquet its part of the validated table
    OUT/validated/rejected.jsonl      its unusable records

The partitions are joined in the order of the log, so the rows, their numbers and the refused lines are the same, and
everything after them is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flywheel.config import ValidationConfig
from flywheel.curation.batches import LogBatch
from flywheel.curation.extraction import extract
from flywheel.curation.output_directory import append_lines
from flywheel.curation.schema import EXTRACTED_FILES, REJECTED_FILE, VALIDATED_FILES
from flywheel.curation.validation.report import EXAMPLES, ValidationReport
from flywheel.curation.validation.validate_stage import validate
from flywheel.progress import Progress

Counts = dict[str, Any]


def curate_part(
    batches: Iterable[LogBatch], out: Path, config: ValidationConfig, progress: Progress
) -> dict[str, Counts]:
    """Write the files above into `out`; a partition may hold nothing of the workload.

    Returns:
        The counts of both steps, as `extract` and `validate` give them.
    """
    work, extracted, validated = out / ".extracting", out / "extracted", out / "validated"
    try:
        read = extract(batches, work, progress, nothing_is_fine=True)
        extracted.mkdir(parents=True)
        shutil.move(work / REJECTED_FILE, extracted / REJECTED_FILE)
        if any(work.glob(EXTRACTED_FILES)):
            judged = validate(work, validated, config, progress, workers=1)
        else:
            validated.mkdir()
            (validated / REJECTED_FILE).touch()
            judged = ValidationReport().as_dict()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return {"extract": read, "validate": judged}


def join_validated(parts: Sequence[Path], out: Path) -> None:
    """The validated table and its refused records of all partitions, in order."""
    number = 0
    (out / REJECTED_FILE).touch()
    for part in parts:
        for file in sorted((part / "validated").glob(VALIDATED_FILES)):
            _link(file, out / f"validated-{number:05d}.parquet")
            number += 1
        append_lines(part / "validated" / REJECTED_FILE, out / REJECTED_FILE)


def join_refused(parts: Sequence[Path], out: Path) -> None:
    """The unreadable lines of all partitions, in order."""
    (out / REJECTED_FILE).touch()
    for part in parts:
        append_lines(part / "extracted" / REJECTED_FILE, out / REJECTED_FILE)


def joined_counts(parts: Iterable[Mapping[str, Any]]) -> Counts:
    """Counts of partitions added up, key by key; of examples the first ones, as one machine would keep them."""
    total: Counts = {}
    for part in parts:
        total = _sum(total, part)
    return total


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> Counts:
    added: Counts = {}
    for name in [*one, *(name for name in other if name not in one)]:
        if name not in one or name not in other:
            added[name] = one.get(name, other.get(name))
        elif isinstance(one[name], Mapping):
            added[name] = dict(sorted(_sum(one[name], other[name]).items()))
        elif isinstance(one[name], list):
            added[name] = [*one[name], *other[name]][:EXAMPLES]
        else:
            added[name] = one[name] + other[name]
    return added


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
