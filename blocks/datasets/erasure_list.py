"""Which records were erased on request, in the dataset store: one small file for each, so that writers cannot clash.

<store>/.erased/<sha-256 of the id>.json    {"record_id", "erased_at"}

The file outlives what was erased: as long as the log holds the record, every run has to pass it over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import msgspec

from blocks.datasets.fsspec_files import make_folder
from flywheel.errors import DatasetError

FOLDER = ".erased"


class _Entry(msgspec.Struct, frozen=True):
    record_id: str
    erased_at: str


def add(files: Any, root: str, record_ids: Collection[str]) -> None:
    """Put records on the list; those that are there already keep their time.

    Args:
        files: The file system, as fsspec has it.
        root: Path of the dataset store in it.
    """
    folder = f"{root.rstrip('/')}/{FOLDER}"
    make_folder(files, folder)
    for record_id in sorted(record_ids):
        name = hashlib.sha256(record_id.encode("utf-8", "surrogatepass")).hexdigest()
        path = f"{folder}/{name}.json"
        if not files.exists(path):
            entry = _Entry(record_id, datetime.now(UTC).isoformat(timespec="seconds"))
            files.pipe_file(path, msgspec.json.encode(entry))


def read(files: Any, root: str) -> frozenset[str]:
    """The ids on the list. Raises: DatasetError for a file that is none of it: nobody may be forgotten in silence."""
    folder = f"{root.rstrip('/')}/{FOLDER}"
    files.invalidate_cache()
    if not files.exists(folder):
        return frozenset()
    found = set()
    for path in files.find(folder):
        try:
            found.add(msgspec.json.decode(files.cat_file(path), type=_Entry).record_id)
        except msgspec.DecodeError as error:
            raise DatasetError(
                f"{path} names no erased record ({error}). Erase the record again, then delete this file."
            ) from error
    return frozenset(found)
