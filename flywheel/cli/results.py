"""`flywheel results`: one run's tables."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from flywheel.cli.settings_arguments import add_connection_arguments, connections_from_arguments

if TYPE_CHECKING:
    from flywheel.config import ConnectionsConfig
    from flywheel.results import RunResult

HELP = "show one run: funnel, scores with their intervals, divergent answers"
EXAMPLE = "flywheel results 3f2a"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and how much of it."""
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="id of the run, or its beginning; default: the newest"
    )
    parser.add_argument("--divergent", action="store_true", help="the divergent answers as well")
    add_connection_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show a run from the run store that the settings name."""
    from flywheel.cli.show import show_run

    connections = connections_from_arguments(arguments)
    result = asyncio.run(_load(arguments.run, connections))
    show_run(
        result,
        connections,
        as_json=arguments.json,
        most_divergent=50 if arguments.divergent else 0,
        all_scores=True,
    )
    return 0


async def _load(run_id: str | None, connections: ConnectionsConfig) -> RunResult:
    from blocks.connections import open_run_store
    from flywheel.errors import DataError

    store = await open_run_store(connections)
    try:
        if run_id:
            return store.load_run(run_id)
        newest = store.list_runs(limit=1)
        if not newest:
            raise DataError("There are no runs yet. `flywheel demo` makes one.")
        return newest[0]
    finally:
        store.close()
