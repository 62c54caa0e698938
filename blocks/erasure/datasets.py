"""Where records stand in the datasets of a store, and taking them out.

A dataset that lost something gets a new manifest: checksums of the files as they are, the corrected counts, and
`erased`, how many records were taken out. Its name stays, so that runs still find it; a run that is resumed sees that
the content changed and makes what follows anew.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec

from blocks.datasets.dataset_manifest import MANIFEST, Manifest, content_of, list_files, read_manifest
from blocks.datasets.dataset_staging import encoded
from blocks.erasure import files
from blocks.ports import DatasetStore
from flywheel.curation.intake import ERASED
from flywheel.curation.schema import REJECTED_FILE
from flywheel.datasets.build import FILES, INDEX_FILE
from flywheel.datasets.icl import EVAL_FILE, EXAMPLES_FILE
from flywheel.judging.files import SHEET_FILE

_TRAINING = {split: FILES[split] for split in ("train", "validation")}


class Place(msgspec.Struct, frozen=True):
    """Records found in one file of one dataset. `how` says what becomes of them there."""

    dataset: str
    file: str
    records: list[str]
    how: str


class DatasetSearch:
    """Finds records in the datasets of a store, and takes them out unless it is a dry run."""

    def __init__(self, store: DatasetStore, ids: Collection[str], *, dry_run: bool) -> None:
        self._store = store
        self._ids = frozenset(ids)
        self._leave = dry_run
        self._dry_run = True  # a dataset is searched first, and changed only if something is in it
        self._same_as = {f"The same request as record {name}." for name in self._ids}
        self._judged: set[str] = set()  # content keys of judged answers
        self.repeats: set[str] = set()

    def run(self) -> Iterator[Place]:
        """What is found, a file of a dataset at a time. `repeats` then names records that asked the very same."""
        later: list[str] = []
        for dataset in self._store.published():
            places = self._taken_out(dataset.name, self._dataset)
            if not places and (self._store.look_into(dataset.name) / SHEET_FILE).exists():
                later.append(dataset.name)  # its lines are known by the keys that verdicts have
            yield from places
        for name in later:
            yield from self._taken_out(name, self._sheet)
        yield from self._scratch()

    def _taken_out(self, name: str, search: Callable[[Path], list[Place]]) -> list[Place]:
        places = search(self._store.look_into(name))
        if places and not self._leave:
            with self._changing(), self._store.revised(name) as directory:
                places = search(directory)
        return [msgspec.structs.replace(place, dataset=name) for place in places]

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        self._dry_run = False
        try:
            yield
        finally:
            self._dry_run = True

    def _dataset(self, directory: Path) -> list[Place]:
        places = []
        changed_counts: dict[str, int] = {}
        places += self._training(directory)
        places += self._examples(directory)
        for path in sorted(directory.rglob("*.jsonl")):
            relative = path.relative_to(directory).as_posix()
            if path.name == REJECTED_FILE:
                places += self._rejected(directory, path)
            elif relative not in _TRAINING.values() and path.name != EXAMPLES_FILE:
                places += self._lines(directory, path)
        for path in sorted(directory.rglob("*.parquet")):
            rows = files.rows_of(path, self._ids)
            if not rows:
                continue
            if path.name.startswith("extracted-"):
                changed_counts["invalid"] = changed_counts.get("invalid", 0) + len(rows)
                changed_counts[ERASED] = changed_counts.get(ERASED, 0) + len(rows)
                self._note_refused(directory, path, rows)
            if not self._dry_run:
                files.without_rows(path, rows)
            how = "emptied" if path.name.startswith("validated-") else "removed"
            places.append(_place(directory, path, rows.values(), how))
        return self._settled(directory, places, changed_counts)

    def _training(self, directory: Path) -> list[Place]:
        """Fine-tuning rows, by their place in the index."""
        index = directory / INDEX_FILE
        if not index.exists():
            return []
        places = []
        of_split: dict[str, int] = {}
        wanted: dict[str, dict[int, str]] = {split: {} for split in _TRAINING}
        with index.open("rb") as lines:
            for line in lines:
                row = msgspec.json.decode(line)
                position = of_split.get(row["split"], 0)
                of_split[row["split"]] = position + 1
                if row["id"] in self._ids:
                    wanted[row["split"]][position] = row["id"]
        for split, found in wanted.items():
            path = directory / _TRAINING[split]
            if found and files.count_lines(path) == of_split[split]:  # else a killed erasure was here before
                if not self._dry_run:
                    files.without_lines(path, found)
                places.append(_place(directory, path, found.values(), "removed"))
        return places

    def _examples(self, directory: Path) -> list[Place]:
        """Items that show one of the records as an in-context example."""
        path, items = directory / EXAMPLES_FILE, directory / EVAL_FILE
        if not path.exists():
            return []
        shown = {
            position: value
            for position, value in files.lines_of(path, files.needles(self._ids))
            if self._ids & {value.get("id"), *value.get("examples", ())}
        }
        by_example = {value["id"] for value in shown.values() if value["id"] not in self._ids}
        positions = files.positions_by_id(items, by_example) if by_example else {}
        if not self._dry_run and shown:
            files.without_lines(path, shown)
            files.without_lines(items, positions)
        records = {name for value in shown.values() for name in self._ids & set(value.get("examples", ()))}
        return [_place(directory, items, records, "removed with the item that showed it")] if records else []

    def _rejected(self, directory: Path, path: Path) -> list[Place]:
        found = {}
        for position, value in files.lines_of(path, [name.strip(b'"') for name in files.needles(self._ids)]):
            record = value.get("record")
            name = record.get("id") if isinstance(record, dict) else None
            if name in self._ids:
                found[position] = str(name)
            elif isinstance(name, str) and value.get("detail") in self._same_as:
                self.repeats.add(name)
        if found and not self._dry_run:
            files.without_content(path, found)
        return [_place(directory, path, found.values(), "emptied")] if found else []

    def _lines(self, directory: Path, path: Path) -> list[Place]:
        found = {}
        for position, value in files.lines_of(path, files.needles(self._ids)):
            if value.get("id") in self._ids:
                found[position] = value["id"]
                if isinstance(value.get("key"), str):
                    self._judged.add(value["key"])
        if found and not self._dry_run:
            files.without_lines(path, found)
        return [_place(directory, path, found.values(), "removed")] if found else []

    def _sheet(self, directory: Path) -> list[Place]:
        path = directory / SHEET_FILE
        found = {
            position: "an answer that was judged"
            for position, value in files.lines_of(path, files.needles(self._judged))
            if value.get("key") in self._judged
        }
        if found and not self._dry_run:
            files.without_lines(path, found)
        return self._settled(directory, [_place(directory, path, found.values(), "removed")] if found else [])

    def _scratch(self) -> Iterator[Place]:
        with contextlib.nullcontext() if self._leave else self._changing():
            for path in sorted(self._store.scratch_folder.rglob("*.jsonl")):
                yield from self._lines(path.parent, path)

    def _note_refused(self, directory: Path, path: Path, rows: Collection[int]) -> None:
        """An extracted record that goes was read all the same: the counts add up by its line among the refused."""
        if self._dry_run:
            return
        with (directory / REJECTED_FILE).open("ab") as rejected:
            for file, line in files.origins_of(path, rows):
                refused = {
                    "reason": ERASED,
                    "detail": "The record was erased on request.",
                    "file": file,
                    "line": line,
                    "record": None,
                }
                rejected.write(msgspec.json.encode(refused) + b"\n")

    def _settled(
        self, directory: Path, places: list[Place], counts: dict[str, int] | None = None
    ) -> list[Place]:
        if places and not self._dry_run:
            _renew_manifest(
                directory, len({name for place in places for name in place.records}), counts or {}
            )
        return places


def _place(directory: Path, path: Path, records: Collection[str], how: str) -> Place:
    return Place(directory.name, path.relative_to(directory).as_posix(), sorted(set(records)), how)


def _renew_manifest(directory: Path, erased: int, added: dict[str, int]) -> None:
    old = read_manifest(directory)
    if old is None:
        return
    counts: dict[str, Any] = {
        **old.counts,
        **{name: old.counts.get(name, 0) + more for name, more in added.items()},
    }
    new: Manifest = msgspec.structs.replace(
        old,
        counts=counts,
        files=list_files(directory),
        erased=old.erased + erased,
        before=sorted({*old.before, content_of(old)}),
    )
    fresh = directory.parent / f".{directory.name}.erasing"
    fresh.write_bytes(encoded(new))
    os.replace(fresh, directory / MANIFEST)
