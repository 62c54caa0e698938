"""`flywheel compare`: runs side by side, paired by item where they asked the same."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from flywheel.cli.settings_arguments import add_connection_arguments

if TYPE_CHECKING:
    from flywheel.config import ConnectionsConfig
    from flywheel.report.comparison import ItemScores, Key
    from flywheel.results import RunResult

HELP = "compare the scores of two or more runs; on the same items, by paired differences with intervals"
EXAMPLE = "flywheel compare 3f2a 9c01"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The runs; the first is what the others are held against."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="ids, or their beginnings; the first is the baseline"
    )
    add_connection_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, what the runs were set to otherwise, and what can be said of it."""
    from flywheel.cli.settings_arguments import connections_from_arguments
    from flywheel.cli.show import print_table
    from flywheel.cli.stored_run import load_run
    from flywheel.cli.terminal import console, emit_json, plain
    from flywheel.errors import ConfigError
    from flywheel.report.comparison import comparison_document, comparison_of, comparison_table
    from flywheel.report.settings_difference import changed_rows, changed_settings

    if len(arguments.runs) < 2:
        raise ConfigError("Name two runs or more; `flywheel runs` lists them.")
    connections = connections_from_arguments(arguments)
    found = [asyncio.run(load_run(name, connections)) for name in arguments.runs]
    if len({one.run_id for one in found}) < len(found):
        raise ConfigError("One run was named twice; compare it with another.")
    scores = asyncio.run(_item_scores(found, connections))
    compared = comparison_of(found, scores)
    changed = changed_settings(found)
    if arguments.json:
        emit_json(comparison_document(compared) | {"settings": [one._asdict() for one in changed]})
        return 0
    screen = console()
    print_table(screen, f"Against run {found[0].run_id}", comparison_table(compared))
    if changed:
        print_table(screen, "Settings that differ", changed_rows(changed))
    else:
        screen.print("Their settings are the same.")
    for note in compared.notes:
        screen.print(plain(note))
    return 0


async def _item_scores(
    runs: list[RunResult], connections: ConnectionsConfig
) -> dict[str, dict[Key, ItemScores]]:
    """Scores of single items by run, candidate and evaluation, where the stored predictions are there."""
    from blocks.connections import open_dataset_store
    from blocks.run_evidence import item_scores

    store = await open_dataset_store(connections)
    return {run.run_id: item_scores(run, store) for run in runs}
