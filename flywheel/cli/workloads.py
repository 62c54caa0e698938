"""`flywheel workloads`: what a log holds, before a run over it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from flywheel.cli.terminal import console, emit_json, plain, progress_bars

if TYPE_CHECKING:
    from blocks.ports import WorkloadSummary

HELP = "list the workloads and clients of a log, with their records, tools and time span"
EXAMPLE = "flywheel workloads --logs logs/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the log is."""
    parser.add_argument(
        "--logs",
        required=True,
        metavar="PATH",
        help="file or directory of logs: JSONL, also .gz or .zst, and Parquet",
    )


def run(arguments: argparse.Namespace) -> int:
    """List the workloads, largest first; `--json` prints a list of objects."""
    import msgspec

    from blocks.file_log_store import FileLogStore
    from flywheel.cli.show import print_table
    from flywheel.errors import DataError

    with progress_bars(enabled=not arguments.json) as progress:
        found = FileLogStore(arguments.logs).workloads(progress)
    if not found:
        raise DataError(f"{arguments.logs} holds no readable records; each line has to be one JSON object.")
    if arguments.json:
        emit_json([msgspec.to_builtins(summary) for summary in found])
    else:
        print_table(console(), f"Workloads in {arguments.logs}", [_row(summary) for summary in found])
        for note in [*_notes(found), "Study one with: flywheel run --logs PATH --workload W --client C"]:
            console().print(note)
    return 0


def _row(summary: WorkloadSummary) -> dict[str, Any]:
    return {
        "workload": summary.workload_id if summary.workload_id is not None else "(none)",
        "client": summary.client_id if summary.client_id is not None else "(none)",
        "records": summary.records,
        "tools": ", ".join(summary.tools) or "-",
        "from": (summary.first or "-")[:10],
        "to": (summary.last or "-")[:10],
    }


def _notes(found: list[WorkloadSummary]) -> list[str]:
    """What share of each client's records cannot be used, as they name no workload."""
    shares = {summary.client_id: summary.share_without_workload_id for summary in found}
    return [
        plain(
            f"{share:.1%} of the records of client {client or '(none)'} have no workload id and cannot be used."
        )
        for client, share in shares.items()
        if share
    ]
