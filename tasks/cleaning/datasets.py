"""Datasets that nothing refers to any more, and those that were never finished."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime

from blocks.connections import open_dataset_store
from blocks.ports import DatasetStore, RunStore
from flywheel.config import ConnectionsConfig
from flywheel.dataset_retention import Reader, StoredDataset, unreferenced, words_of
from flywheel.errors import FlywheelError
from tasks.cleaning.freed import Freed


async def clean_up_datasets(
    connections: ConnectionsConfig, runs: RunStore, unused_since: datetime, *, dry_run: bool
) -> list[Freed]:
    """Remove half-written datasets of makers that are gone, and whole ones by `flywheel.dataset_retention`.

    Only where the history at hand is the only one that refers to the store: another's runs cannot be asked here.

    Args:
        unused_since: What was made or found since then stays.
    """
    try:
        store = await open_dataset_store(connections)
        return await asyncio.to_thread(lambda: list(_cleaned(store, runs, unused_since, dry_run)))
    except FlywheelError as error:  # everything else is cleaned all the same
        return [Freed("dataset store", connections.dataset_store, "", "not looked through", str(error))]


def _cleaned(store: DatasetStore, runs: RunStore, unused_since: datetime, dry_run: bool) -> Iterator[Freed]:
    removed = "would be removed" if dry_run else "removed"
    for place in store.sweep(dry_run=dry_run):
        yield Freed("dataset", place, "", removed, "left half-written")
    published = store.published()  # first: a run that begins from now on is among the runs
    going = unreferenced(published, _readers(runs), unused_since)
    if not going:
        return
    histories = store.histories()
    if histories != {runs.identity()}:
        yield Freed("datasets", f"{len(going)} of {len(published)}", "", "left alone", _whose(histories))
        return
    for dataset in going:
        if dry_run or store.remove(dataset.name, unused_since):
            yield Freed("dataset", dataset.name, "", removed, _why(dataset))


def _readers(runs: RunStore) -> Iterator[Reader]:
    for run in runs.all_runs():
        words = words_of(run, runs.judge_runs(run.run_id))
        yield Reader(run.run_id, run.status != "completed", words)
    yield Reader("", False, words_of(runs.allocated()))


def _whose(histories: frozenset[str]) -> str:
    if len(histories) < 2:
        return "no run of this history has used the store: name the history whose runs did, with --run-store or --home"
    return (
        f"{len(histories)} histories use the store, and only one can be asked. If one is given up, delete its file "
        "below .histories in the store"
    )


def _why(dataset: StoredDataset) -> str:
    return f"nothing refers to it; last used on {dataset.used_at:%Y-%m-%d}, {dataset.size / 1e6:.1f} MB"
