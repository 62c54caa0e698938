"""`flywheel erase`: takes records out of everything that was made from them, and keeps them out."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from flywheel.cli.settings_arguments import add_connection_arguments, connections_from_arguments

if TYPE_CHECKING:
    from blocks.erasure.reach import Erasure

HELP = "erase a record: tell every dataset, evaluation and adapter that it reached, and take it out"
EXAMPLE = "flywheel erase --record-id 3f9c2a71 --dry-run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which records, and whether only to look."""
    parser.add_argument(
        "--record-id",
        metavar="ID",
        action="append",
        required=True,
        help="id of the record, as the log or the datasets have it; may be given many times",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what it reached, and leave everything")
    add_connection_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Erase and show what was found. Repeating it does no harm."""
    import asyncio
    import contextlib

    from blocks.connections import open_dataset_store, open_run_store
    from blocks.erasure.reach import erase
    from flywheel.cli.terminal import emit_json
    from flywheel.errors import ConfigError

    if any(not name.strip() for name in arguments.record_id):
        raise ConfigError("--record-id is empty; give the id of a record.")
    connections = connections_from_arguments(arguments)
    store = asyncio.run(open_dataset_store(connections))
    with contextlib.closing(asyncio.run(open_run_store(connections))) as runs:
        erasure = erase(store, runs, arguments.record_id, dry_run=arguments.dry_run)
    if arguments.json:
        import msgspec

        emit_json(msgspec.to_builtins(erasure))
    else:
        _show(erasure)
    return 0


def _show(erasure: Erasure) -> None:
    from flywheel.cli.show import print_table
    from flywheel.cli.terminal import console, plain

    screen = console()
    would = "would be " if erasure.dry_run else ""
    tables: dict[str, list[dict[str, Any]]] = {
        "Datasets": [
            {"dataset": p.dataset, "file": p.file, "records": len(p.records), "what": would + p.how}
            for p in erasure.datasets
        ],
        "Evaluations with it among their items (their scores stay)": [
            {"run": e.run_id, "candidate": e.candidate, "evaluation": e.eval_type}
            for e in erasure.evaluations
        ],
        "Fine-tuned models that learned from it": [
            {"run": a.run_id, "candidate": a.candidate, "job": a.job, "marked": "yes" if a.marked else "no"}
            for a in erasure.adapters
        ],
    }
    for title, rows in tables.items():
        if rows:
            print_table(screen, title, rows)
    if not (erasure.datasets or erasure.evaluations or erasure.adapters):
        screen.print(plain("No dataset, evaluation or adapter of the stores has it."))
    if erasure.repeats:
        screen.print(plain(f"Other records asked the very same and stay: {', '.join(erasure.repeats[:20])}"))
    if erasure.running:
        screen.print(
            plain(f"Going on right now: {', '.join(erasure.running)}. Erase again when they have ended.")
        )
    for task in erasure.by_hand:
        screen.print(plain(f"To do: {task}"))
