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
from types import TracebackType
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from flywheel.config import ValidationConfig
from flywheel.curation.schema import EXTRACTED_FILES, REJECTED_FILE
from flywheel.curation.validation.report import ValidationReport
from flywheel.curation.validation.validate_part import validate_part
from flywheel.errors import DatasetError
from flywheel.progress import Progress
from flywheel.worker_pool import WorkerPool, work_off, worker_count

MOST_WORKERS = 32
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
    total = sum(pq.read_metadata(part).num_rows for part in parts)
    if workers is None:
        workers = 1 if total < FEW_RECORDS else worker_count(len(parts))
    with Validation(out, config, progress, workers) as validation:
        for part in parts:
            validation.add(part)
        return validation.finish(total)


class Validation:
    """Validates parts as they come, so that it can begin while the log is still being read.

    The first part waits for a second one: a log of one part is not worth a process.
    """

    def __init__(
        self, out: Path, config: ValidationConfig, progress: Progress, workers: int | None = None
    ) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self._out = out
        self._config = config
        self._progress = progress
        self._workers = worker_count(MOST_WORKERS) if workers is None else workers
        self._parts: list[Path] = []
        self._pool: WorkerPool[_Job, ValidationReport] | None = None

    def add(self, part: Path) -> None:
        """Take a finished part; its records are numbered in the order in which parts are added."""
        self._parts.append(part)
        if self._workers <= 1 or len(self._parts) < 2:
            return
        if self._pool is None:
            self._pool = WorkerPool(_work, self._workers)
            self._pool.submit(self._job(self._parts[0]))
        self._pool.submit(self._job(part))

    def finish(self, total: int) -> dict[str, Any]:
        """Wait for all parts; returns what `validate` returns. `total`: records in them, for the progress."""
        done = 0
        by_part: dict[int, ValidationReport] = {}
        jobs = [self._job(part) for part in self._parts]
        for position, report in self._pool.results() if self._pool else work_off(_work, jobs, workers=1):
            by_part[position] = report
            done += report.read
            self._progress("validate", done, total, "records")
        merged = ValidationReport()
        with (self._out / REJECTED_FILE).open("wb") as rejected:
            for position, part in enumerate(self._parts):
                merged.add(by_part[position])
                with _rejected_of(self._out, part).open("rb") as file:
                    shutil.copyfileobj(file, rejected, 1 << 20)
                _rejected_of(self._out, part).unlink()
        return merged.as_dict()

    def _job(self, part: Path) -> _Job:
        return _Job(part, self._out, self._config)

    def __enter__(self) -> Validation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.__exit__(kind, error, trace)


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
