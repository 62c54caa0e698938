"""What `flywheel runs` does with the history."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from blocks.ports import RunStore
from flywheel.cli.show import print_table
from flywheel.cli.stored_run import NO_RUNS
from flywheel.cli.terminal import console, emit_json, plain, progress_bars
from flywheel.errors import ConfigError


def check(arguments: argparse.Namespace) -> None:
    """Raises ConfigError for numbers that make no sense, before anything is opened."""
    if arguments.limit < 1:
        raise ConfigError("--limit takes a number from 1.")
    if arguments.action != "prune":
        return
    if arguments.keep is None and arguments.older_than is None:
        raise ConfigError("Say what to keep: --keep N newest runs, --older-than DAYS, or both.")
    if (arguments.keep or 0) < 0 or not 0 <= (arguments.older_than or 0) <= 36_500:
        raise ConfigError("--keep takes a number from 0, --older-than days from 0 to 36500.")


def list_runs(arguments: argparse.Namespace, store: RunStore) -> int:
    """A table of the newest."""
    from flywheel.report.history import history_document, history_rows

    runs = store.list_runs(arguments.workload, arguments.client, arguments.limit)
    if arguments.json:
        emit_json(history_document(runs))
    elif runs:
        print_table(console(), "Runs", history_rows(runs))
    elif arguments.workload or arguments.client:
        console().print("No runs of that workload and client. All there are: flywheel runs")
    else:
        console().print(NO_RUNS)
    return 0


def export_runs(arguments: argparse.Namespace, store: RunStore) -> int:
    """All history to a file."""
    from blocks.history.history_file import export_history

    path = Path(arguments.file)
    with progress_bars(enabled=not arguments.json) as progress:
        counts = export_history(store, path, progress)
    if arguments.json:
        emit_json({"file": str(path), **counts})
        return 0
    console().print(
        plain(
            f"{counts['run']} runs, {counts['judge run']} judge runs and {counts['resource']} resources are in {path}."
        )
    )
    return 0


def import_runs(arguments: argparse.Namespace, store: RunStore) -> int:
    """A file to the history."""
    from blocks.history.history_file import import_history

    with progress_bars(enabled=not arguments.json) as progress:
        done = import_history(store, Path(arguments.file), progress, replace=arguments.replace)
    if arguments.json:
        emit_json(msgspec.to_builtins(done))
        return 0
    screen = console()
    screen.print(
        f"{done.added} runs added, {done.replaced} replaced, {done.already_there} were there already; "
        f"{done.judge_runs} judge runs, {done.resources} resources."
    )
    if done.different:
        screen.print(
            plain(
                f"Left alone, since the store has them with other content: {', '.join(done.different)}. "
                "--replace takes those of the file."
            )
        )
    return 0


def prune_runs(arguments: argparse.Namespace, store: RunStore) -> int:
    """Remove old runs, and say which."""
    from flywheel.retention import expendable

    age = arguments.older_than
    going = expendable(
        store.all_runs(),
        keep_newest=arguments.keep,
        started_before=None if age is None else datetime.now(UTC) - timedelta(days=age),
        allocated={entry.run_id for entry in store.allocated()},
    )
    removed = going if arguments.dry_run else [run_id for run_id in going if store.remove_run(run_id)]
    if arguments.json:
        emit_json({"removed": removed, "dry_run": arguments.dry_run})
        return 0
    screen = console()
    for run_id in removed:
        screen.print(plain(run_id))
    screen.print(
        f"{len(removed)} runs {'would be' if arguments.dry_run else 'were'} removed. "
        "What kept runs refer to stays, and so do runs that are running or hold resources. "
        "Datasets that nothing refers to then go by `flywheel cleanup`."
    )
    return 0
