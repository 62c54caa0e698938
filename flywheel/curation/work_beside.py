"""What curation does in processes of its own, by the modules that do it."""

from __future__ import annotations

from pathlib import Path

from flywheel.worker_pool import prepare_workers, worker_count

MODULES = (
    "flywheel.curation.validation.validate_stage",
    "flywheel.curation.rejected_rows",
    "flywheel.datasets.rendering_worker",
    "flywheel.datasets.icl_items",
)
WORTH_PREPARING = 20_000_000
"""Bytes of log from which the workers are sure to be wanted."""


def prepare_for(log: Path) -> None:
    """Have the workers' code imported while this process imports its own, if the log is large enough for any."""
    if worker_count(2) > 1 and _bytes_of(log) >= WORTH_PREPARING:
        prepare_workers(MODULES)


def _bytes_of(log: Path) -> int:
    try:
        files = [log] if log.is_file() else log.rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())
    except OSError:
        return 0  # who reads the log says what is wrong with it
