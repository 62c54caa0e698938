"""Second step: every extracted record is judged, and the usable ones get their derived columns.

Parts are independent of each other: they are worked on in processes of their own when there is enough to do, and the
output is the same for any number of them.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from flywheel.config import ValidationConfig
from flywheel.curation.schema import EXTRACTED_FILES, REJECTED_FILE
from flywheel.curation.validate_part import validate_part
from flywheel.curation.validation_report import ValidationReport
from flywheel.errors import DatasetError, RemoteError
from flywheel.progress import Progress

FEW_RECORDS = 5_000  # below this, starting processes takes longer than the work
LONGEST_WAIT = 900.0  # seconds without any part getting finished; a part takes a second or two


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
        workers = 1 if total < FEW_RECORDS else len(os.sched_getaffinity(0))
    workers = min(workers, len(parts))
    reports = _in_process if workers <= 1 else _in_processes
    merged = ValidationReport()
    done = 0
    by_part: dict[int, ValidationReport] = {}
    for position, report in reports(parts, out, config, workers):
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


def _in_process(
    parts: list[Path], out: Path, config: ValidationConfig, workers: int
) -> Iterator[tuple[int, ValidationReport]]:
    for position, part in enumerate(parts):
        yield position, _work(part, out, config)


def _in_processes(
    parts: list[Path], out: Path, config: ValidationConfig, workers: int
) -> Iterator[tuple[int, ValidationReport]]:
    context = multiprocessing.get_context("spawn")  # forking a process that has threads can lock up
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_the_parent)
    try:
        pending: dict[Future[ValidationReport], int] = {
            pool.submit(_work, part, out, config): position for position, part in enumerate(parts)
        }
        while pending:
            finished, _ = wait(pending, timeout=LONGEST_WAIT, return_when=FIRST_COMPLETED)
            if not finished:
                raise RemoteError(
                    f"validation got nothing done in {LONGEST_WAIT:.0f} s; look at the machine's load"
                )
            for future in finished:
                yield pending.pop(future), future.result()
    except BrokenProcessPool as error:
        raise RemoteError(
            "a worker process died while validating, perhaps out of memory; try again"
        ) from error
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(part: Path, out: Path, config: ValidationConfig) -> ValidationReport:
    with _collector_paused():
        return validate_part(part, _validated_of(out, part), _rejected_of(out, part), config)


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
