"""Which histories refer to datasets of a store: one small file for each, written when its first run begins.

<store>/.histories/<id>.json    {"history", "since"}

A store may be shared, and nothing but a history says which datasets are still wanted. So whoever removes some has to
know that theirs is the only one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from blocks.datasets.fsspec_files import make_folder
from flywheel.naming import slug

FOLDER = ".histories"


def add(files: Any, root: str, history: str) -> None:
    """Put a history on the list, by its id; one that is there keeps its time.

    Args:
        files: The file system, as fsspec has it.
        root: Path of the dataset store in it.
    """
    folder = f"{root.rstrip('/')}/{FOLDER}"
    path = f"{folder}/{slug(history)}.json"
    if not files.exists(path):
        make_folder(files, folder)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        files.pipe_file(path, msgspec.json.encode({"history": history, "since": since}))


def read(files: Any, root: str) -> frozenset[str]:
    """The ids on the list."""
    folder = f"{root.rstrip('/')}/{FOLDER}"
    files.invalidate_cache()
    if not files.exists(folder):
        return frozenset()
    return frozenset(path.rpartition("/")[2].removesuffix(".json") for path in files.find(folder))
