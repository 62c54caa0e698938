"""`flywheel runs`: the history, and moving or cutting it back."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from flywheel.cli.settings_arguments import add_connection_arguments, connections_from_arguments

if TYPE_CHECKING:
    from blocks.ports import RunStore

HELP = "list the runs so far, newest first; export, import and prune them"
EXAMPLE = "flywheel runs --workload support-router"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Filters, and what else can be done with history."""
    parser.add_argument("--workload", metavar="W", help="only runs of this workload")
    parser.add_argument("--client", metavar="C", help="only runs of this client")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="most runs to list (default 20)")
    add_connection_arguments(parser)
    actions = parser.add_subparsers(dest="action", metavar="export|import|prune", title="more")
    exporting = actions.add_parser("export", help="write all history to a file")
    exporting.add_argument("file", metavar="FILE", help="JSONL file to write; it must not exist yet")
    importing = actions.add_parser("import", help="add what a file holds to the history")
    importing.add_argument("file", metavar="FILE", help="a file that `flywheel runs export` wrote")
    importing.add_argument(
        "--replace",
        action="store_true",
        help="take the file's runs where the store has them with other content",
    )
    pruning = actions.add_parser("prune", help="remove old runs; never one that a kept run is compared with")
    pruning.add_argument(
        "--keep", type=int, metavar="N", help="keep the newest N of each workload and client"
    )
    pruning.add_argument("--older-than", type=float, metavar="DAYS", help="remove only runs older than this")
    pruning.add_argument("--dry-run", action="store_true", help="say what would go, and leave it")
    for action in (exporting, importing, pruning):
        add_connection_arguments(action, below=True)
        action.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON document on stdout"
        )
        action.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks and debug logs"
        )


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked with the run store that the settings name."""
    from blocks.connections import open_run_store
    from flywheel.cli import history

    actions = {
        None: history.list_runs,
        "export": history.export_runs,
        "import": history.import_runs,
        "prune": history.prune_runs,
    }
    connections = connections_from_arguments(arguments)
    history.check(arguments)
    store: RunStore = asyncio.run(open_run_store(connections))
    try:
        return actions[arguments.action](arguments, store)
    finally:
        store.close()
