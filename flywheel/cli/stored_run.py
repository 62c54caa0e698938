"""A run from the run store, by its id or the beginning of it, and what lies in the dataset store for it."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from flywheel.cli.settings_arguments import add_connection_arguments

if TYPE_CHECKING:
    from flywheel.config import ConnectionsConfig
    from flywheel.report.evidence import Evidence
    from flywheel.results import RunResult


NO_RUNS = (
    "No runs yet. `flywheel demo` makes one; history that is kept elsewhere is named with "
    "--set connections.run_store=mongodb, or a saved block."
)


def add_run_argument(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """The id, and where the stores are."""
    parser.add_argument(
        "run",
        nargs="?" if optional else None,
        metavar="RUN",
        help="id of the run, or its beginning" + ("; default: the newest" if optional else ""),
    )
    add_connection_arguments(parser)


async def load_run(run_id: str | None, connections: ConnectionsConfig) -> RunResult:
    """The run that `run_id` begins the id of; the newest where it is None. Raises DataError."""
    from blocks.connections import open_run_store
    from flywheel.errors import DataError

    with contextlib.closing(await open_run_store(connections)) as store:
        if run_id:
            return store.load_run(run_id)
        newest = store.list_runs(limit=1)
        if not newest:
            raise DataError(NO_RUNS)
        return newest[0]


async def change_run(
    run_id: str, connections: ConnectionsConfig, change: Callable[[RunResult], RunResult]
) -> RunResult:
    """Replace a stored run by what `change` makes of it. Raises DataError."""
    from blocks.connections import open_run_store

    with contextlib.closing(await open_run_store(connections)) as store:
        return store.update_run(store.load_run(run_id).run_id, change)


async def load_evidence(run: RunResult, connections: ConnectionsConfig) -> Evidence:
    """What the dataset store has of the run."""
    from blocks.connections import open_dataset_store
    from blocks.run_evidence import evidence_of

    return evidence_of(run, await open_dataset_store(connections))
