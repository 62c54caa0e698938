"""`flywheel results`: one run's tables."""

from __future__ import annotations

import argparse
import asyncio

from flywheel.cli.stored_run import add_run_argument, load_run

HELP = "show one run: what it comes to, verdicts, scores with their intervals, costs, divergent answers"
EXAMPLE = "flywheel results 3f2a"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and how much of it."""
    add_run_argument(parser, optional=True)
    parser.add_argument("--divergent", action="store_true", help="the divergent answers as well")


def run(arguments: argparse.Namespace) -> int:
    """Show a run from the run store that the settings name."""
    from flywheel.cli.settings_arguments import connections_from_arguments
    from flywheel.cli.show import show_run

    connections = connections_from_arguments(arguments)
    result = asyncio.run(load_run(arguments.run, connections))
    show_run(
        result,
        connections,
        as_json=arguments.json,
        most_divergent=50 if arguments.divergent else 0,
        all_scores=True,
    )
    return 0
