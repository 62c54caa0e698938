"""Second step: every extracted record is judged, and the usable ones get their derived columns.

Parts are independent of each other: they are worked on in processes of their own when there is enough to do,
and the output is the same for any number of them.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from flywheel.config import ValidationConfig
from flywheel.curation.schema import EXTRACTED_FILES, REJECTED_FILE
from flywheel.curation.validate_part import validate_part
from flywheel.curation.validation_report import ValidationReport
from flywheel.errors import DatasetError
from flywheel.progress import Progress
from flywheel.worker_pool import work_off, worker_count

FEW_RECORDS = 5_000  # below this, starting processes takes longer than the work


def validate(
    extracted: Path,
    out: Path,
    config: ValidationConfig,
    progress: Progress,
    workers: int | None = None,
) -> dict[str, Any]:
    """Write `validated-*.parquet`, a part for each extracted one, and `rejected.jsonl` into `out`.

    Args:
        workers: Processes to use; None takes one for each core, and none of their own for few records.
    Returns:
        `read`, `valid`, `invalid`, and what `ValidationReport.as_dict` says about them.
    Raises:
        DatasetError: There is nothing extracted.
        RemoteError: A worker process died or got stuck.
    """
    parts = sorted(extracted.glob(EXTRACTED_FILES))
    if not parts:
        raise DatasetError(f"{extracted} holds no extracted records; run the curation again from its start.")
    out.mkdir(parents=True, exist_ok=True)
    total = sum(pq.read_metadata(part).num_rows for part in parts)
    if workers is None:
        workers = 1 if total < FEW_RECORDS else worker_count(len(parts))
    merged = ValidationReport()
    done = 0
    by_part: dict[int, ValidationReport] = {}
    jobs = [_Job(part, out, config) for part in parts]
    for position, report in work_off(_work, jobs, workers):
        by_part[position] = report
        done += report.read
        progress("validate", done, total, "records")
    with (out / REJECTED_FILE).open("wb") as rejected:
        for position, part in enumerate(parts):
            merged.add(by_part[position])
            with _rejected_of(out, part).open("rb") as file:
                shutil.copyfileobj(file, rejected, 1 << 20)
            _rejected_of(out, part).unlink()
    return merged.as_dict()


def _rejected_of(out: Path, part: Path) -> Path:
    return out / f"{part.stem}.rejected"


def _validated_of(out: Path, part: Path) -> Path:
    return out / part.name.replace("extracted", "validated")


class _Job(NamedTuple):
    part: Path
    out: Path
    config: ValidationConfig


def _work(job: _Job) -> ValidationReport:
    out, part = job.out, job.part
    with _collector_paused():
        return validate_part(part, _validated_of(out, part), _rejected_of(out, part), job.config)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Records make no reference cycles; walking them again and again would take longer than the work itself."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
