"""Which stored datasets nothing refers to: no run, nothing that is kept, and nothing that a run may come back to."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

MEMORY = "memory"
"""Kind of that which a run leaves for later ones. The run names the version that counts; others are old."""

_WORDS = re.compile(r"[a-z0-9-]+")


class StoredDataset(msgspec.Struct, frozen=True):
    """A dataset as its store knows it.

    `key` is what its name was made from; `parents` are those among it that are datasets, by name or by content.
    `contents` has the hash of its content, and of what it was before records were erased from it. `used_at` is when it
    was last made or found.
    """

    name: str
    kind: str
    key: dict[str, Any]
    parents: list[str]
    contents: list[str]
    used_at: datetime
    size: int = 0  # bytes


class Reader(msgspec.Struct, frozen=True):
    """A run, as far as it keeps datasets. `words` are those of its documents that may be names of datasets.

    One that may go on, because it is under way or did not complete, keeps as well what it has made and not named yet,
    and whatever was made from that, unless under the id of another run: it will look for those again.
    """

    run_id: str
    may_go_on: bool
    words: frozenset[str]


def words_of(*documents: Any) -> frozenset[str]:
    """Everything in the documents that has the letters of a dataset's name; paths and addresses fall into parts."""
    text = msgspec.json.encode(documents).decode()
    return frozenset(word for word in _WORDS.findall(text) if "-" in word)


def unreferenced(
    datasets: Sequence[StoredDataset], readers: Iterable[Reader], unused_since: datetime
) -> list[StoredDataset]:
    """Those that may go, longest unused first.

    What stays: what a run names; what was made in a run of the history, except memories, of which the run names the
    one that counts; everything that a run which may go on could look for; what was used since `unused_since`; and
    whatever one of these was made from, of equal contents one.
    """
    readers = list(readers)
    holders = _Holders(datasets)
    words = frozenset[str]().union(*(reader.words for reader in readers))
    ids = {reader.run_id for reader in readers}
    going_on = {reader.run_id for reader in readers if reader.may_go_on}
    kept = {
        dataset.name
        for dataset in datasets
        if dataset.name in words
        or dataset.used_at >= unused_since
        or (dataset.kind != MEMORY and dataset.key.get("run") in ids)
    }
    wanted_again = [dataset for dataset in datasets if _mentions(dataset.key, going_on)]
    kept |= holders.made_from(wanted_again, going_on)
    kept |= holders.needed_by(kept)
    return sorted(
        (dataset for dataset in datasets if dataset.name not in kept),
        key=lambda dataset: (dataset.used_at, dataset.name),
    )


class _Holders:
    """Datasets by that which others call them: their name, and the hashes of their contents."""

    def __init__(self, datasets: Sequence[StoredDataset]) -> None:
        self._by_name = {dataset.name: dataset for dataset in datasets}
        self._called: dict[str, list[StoredDataset]] = defaultdict(list)
        self._children: dict[str, list[StoredDataset]] = defaultdict(list)
        for dataset in datasets:
            for called in {dataset.name, *dataset.contents}:
                self._called[called].append(dataset)
            for parent in dataset.parents:
                self._children[parent].append(dataset)

    def made_from(self, first: Iterable[StoredDataset], run_ids: Collection[str]) -> set[str]:
        """Names of these and of all that was made from them, except what belongs to a run that is none of these."""
        found: set[str] = set()
        left = list(first)
        while left:
            dataset = left.pop()
            if dataset.name not in found and dataset.key.get("run", "") in {"", *run_ids}:
                found.add(dataset.name)
                for called in (dataset.name, *dataset.contents):
                    left += self._children[called]
        return found

    def needed_by(self, names: Collection[str]) -> set[str]:
        """Names of that which these were made from; where several have the content, one that is there anyway."""
        found = set(names)
        left = [self._by_name[name] for name in sorted(names)]
        while left:
            for parent in left.pop().parents:
                holders = self._called[parent]
                if holders and not any(holder.name in found for holder in holders):
                    newest = max(holders, key=lambda holder: (holder.used_at, holder.name))
                    found.add(newest.name)
                    left.append(newest)
        return found


def _mentions(key: dict[str, Any], run_ids: Collection[str]) -> bool:
    text = msgspec.json.encode(key).decode() if run_ids else ""
    return any(run_id in text for run_id in run_ids)
