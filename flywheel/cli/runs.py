"""`flywheel runs`: the history."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flywheel.results import RunResult

HELP = "list the runs so far, newest first"
EXAMPLE = "flywheel runs --workload support-router"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Filters."""
    parser.add_argument("--workload", metavar="W", help="only runs of this workload")
    parser.add_argument("--client", metavar="C", help="only runs of this client")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="most runs to list (default 20)")


def run(arguments: argparse.Namespace) -> int:
    """List runs from the embedded run store."""
    from flywheel.cli.show import print_table
    from flywheel.cli.terminal import console, emit_json
    from flywheel.errors import ConfigError
    from flywheel.report.history import history_document, history_rows

    if arguments.limit < 1:
        raise ConfigError("--limit takes a number from 1.")
    runs = asyncio.run(_list(arguments))
    if arguments.json:
        emit_json(history_document(runs))
    elif runs:
        print_table(console(), "Runs", history_rows(runs))
    else:
        console().print("No runs yet. `flywheel demo` makes one.")
    return 0


async def _list(arguments: argparse.Namespace) -> list[RunResult]:
    from blocks.connections import open_run_store
    from flywheel.config import ConnectionsConfig

    store = await open_run_store(ConnectionsConfig())
    try:
        return store.list_runs(arguments.workload, arguments.client, arguments.limit)
    finally:
        store.close()
