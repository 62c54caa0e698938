"""`flywheel workloads`: what a log holds, before a run over it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from flywheel.cli.label_arguments import add_label_arguments, labels_from_arguments
from flywheel.cli.terminal import console, emit_json, plain, progress_bars

if TYPE_CHECKING:
    from blocks.ports import WorkloadSummary

HELP = "list the workloads and clients of a log, with their records, tools and time span"
EXAMPLE = "flywheel workloads --logs logs/"
MOST_GROUPS_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the log is."""
    parser.add_argument(
        "--logs",
        metavar="PATH",
        help="file or directory of logs: JSONL, also .gz or .zst, Parquet, and OpenTelemetry spans (OTLP/JSON)",
    )
    parser.add_argument(
        "--from",
        dest="store",
        metavar="STORE",
        help="a log store in place of files: 'elasticsearch' or 'langfuse' (from the ELASTICSEARCH_* or LANGFUSE_* "
        "environment variables), or '<block type>/<block name>' of a saved Prefect block",
    )
    add_label_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """List the workloads, largest first; `--json` prints a list of objects, and what it leaves out on stderr."""
    import asyncio
    import sys

    import msgspec

    from blocks.connections import log_store_named
    from flywheel.cli.show import print_table
    from flywheel.errors import ConfigError, DataError

    if bool(arguments.logs) == bool(arguments.store):
        raise ConfigError("Name the log, with --logs PATH or with --from elasticsearch (or langfuse).")
    labels = labels_from_arguments(arguments)
    store = asyncio.run(log_store_named(arguments.store or "files", arguments.logs or "", labels=labels))
    shown = arguments.logs or arguments.store
    with progress_bars(enabled=not arguments.json) as progress:
        found = store.workloads(progress)
        if look := getattr(store, "with_groups", None):
            found = look(found, progress)
    unreadable = _unreadable(getattr(store, "unreadable", {}))
    if not found:
        raise DataError(
            f"{shown} holds no readable records; each line has to be one JSON object. {unreadable}".strip()
        )
    if arguments.json:
        emit_json([msgspec.to_builtins(summary) for summary in found])
        if unreadable:
            print(unreadable, file=sys.stderr)
    else:
        print_table(console(), f"Workloads in {shown}", [_row(summary) for summary in found])
        if groups := _groups(found):
            print_table(console(), "Records without a workload id, by what they look like", groups)
            for sample in _samples(found):
                console().print(sample)
        for note in [unreadable, *_notes(found), _next_step(arguments)]:
            if note:
                console().print(note)
    return 0


def _unreadable(reasons: dict[str, int]) -> str:
    """How many lines are no records, and why."""
    if not reasons:
        return ""
    listed = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
    return f"{sum(reasons.values()):,} lines are no records and are not counted: {listed}."


def _next_step(arguments: argparse.Namespace) -> str:
    where = "--logs PATH" if arguments.logs else plain(f"--from {arguments.store}")
    for name in ("workload_from", "client_from"):
        if given := getattr(arguments, name):
            where += plain(f" --set 'logs.{name}=[{', '.join(given)}]'")
    return f"Study one with: flywheel run {where} --workload W --client C"


def _row(summary: WorkloadSummary) -> dict[str, Any]:
    return {
        "workload": summary.workload_id if summary.workload_id is not None else "(none)",
        "client": summary.client_id if summary.client_id is not None else "(none)",
        "records": summary.records,
        "tools": ", ".join(summary.tools) or "-",
        "from": (summary.first or "-")[:10],
        "to": (summary.last or "-")[:10],
        "latency": _figure(summary.average_latency_ms, " ms"),
        "tokens in": _figure(summary.average_tokens_in),
        "tokens out": _figure(summary.average_tokens_out),
    }


def _groups(found: list[WorkloadSummary]) -> list[dict[str, Any]]:
    """Which workload the records without one look like, or that they are a kind of call by themselves."""
    return [
        {
            "client": summary.client_id if summary.client_id is not None else "(none)",
            "records": group.records,
            "looks like": ", ".join(group.workloads) or "a workload of its own",
            "tools": ", ".join(group.tools) or "-",
            "system prompt": group.system_prompt or "-",
        }
        for summary in found
        for group in summary.groups[:MOST_GROUPS_SHOWN]
    ]


def _samples(found: list[WorkloadSummary]) -> list[str]:
    """Of how many records the groups are, where not all were looked at."""
    return [
        plain(
            f"Of client {summary.client_id or '(none)'}, the newest {summary.looked_at:,} of {summary.records:,} "
            "records without a workload id were looked at."
        )
        for summary in found
        if summary.looked_at is not None and summary.looked_at < summary.records
    ]


def _figure(average: float | None, unit: str = "") -> str:
    return "-" if average is None else f"{average:,.0f}{unit}"


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
