"""The manifest of a dataset: what it was made from, what it counts, and checksums of its files."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from flywheel.dataset_retention import StoredDataset
from flywheel.errors import DatasetError
from flywheel.naming import slug

SCHEMA_VERSION = 1
"""Of the manifest and of the tables of `flywheel.curation.schema`; part of every dataset's name."""

MANIFEST = "manifest.json"

NAME = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)-[0-9a-f]{16}")
"""Of a dataset; the group is its kind."""


class FileEntry(msgspec.Struct, frozen=True):
    """One file of a dataset, by its path inside it; `size` in bytes."""

    path: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """`key` is what the name was made from; `parents` names the datasets that this one was made from.

    `erased` counts the records that were taken out of it later, on request; `before` has the hashes of what its
    content was then, by which what was made from it knows it.
    """

    schema_version: int
    kind: str
    key: dict[str, Any]
    parents: list[str]
    counts: dict[str, Any]
    created_at: str
    files: list[FileEntry]
    erased: int = 0
    before: list[str] = []


def dataset_name(kind: str, key: dict[str, Any]) -> str:
    """`<kind>-<16 hex digits>`: the same key gives the same name, whatever the order of its fields."""
    canonical = msgspec.json.encode([SCHEMA_VERSION, kind, key], order="deterministic")
    return f"{kind}-{hashlib.sha256(canonical).hexdigest()[:16]}"


def kind_in(name: str) -> str:
    """The kind that a dataset's name begins with. Raises DatasetError for what is no such name."""
    match = NAME.fullmatch(name)
    if match is None:
        raise DatasetError(f"{name!r} is not the name of a dataset.")
    return match[1]


def is_name_of(name: str, manifest: Manifest) -> bool:
    """Whether a name is the one that follows from the manifest; else somebody else named it."""
    return name == dataset_name(slug(manifest.kind), manifest.key)


def parents_in(key: dict[str, Any]) -> list[str]:
    """The datasets that a key names under "parents" (a list, or a mapping from a part to a dataset)."""
    parents = key.get("parents", [])
    return sorted(str(parent) for parent in (parents.values() if isinstance(parents, dict) else parents))


def content_of(manifest: Manifest, below: str = "") -> str:
    """SHA-256 over the names and checksums of a dataset's files, of those under `below` if given."""
    listing = sorted((file.path, file.sha256) for file in manifest.files if file.path.startswith(below))
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def as_stored(name: str, manifest: Manifest, used_at: datetime) -> StoredDataset:
    """What is asked of a dataset where it is decided whether it may go."""
    return StoredDataset(
        name=name,
        kind=manifest.kind,
        key=manifest.key,
        parents=manifest.parents,
        contents=[content_of(manifest), *manifest.before],
        used_at=used_at,
        size=sum(file.size for file in manifest.files),
    )


def list_files(directory: Path) -> list[FileEntry]:
    """Every file of a dataset but the manifest, sorted by path."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file() and path != directory / MANIFEST)
    return [
        FileEntry(path.relative_to(directory).as_posix(), path.stat().st_size, _sha256(path))
        for path in paths
    ]


def read_manifest(directory: Path) -> Manifest | None:
    """The manifest of a published dataset; None where there is none. Raises DatasetError."""
    try:
        data = (directory / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise damaged(directory, f"{MANIFEST} cannot be read ({error})") from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise DatasetError(
            f"The dataset {directory} has schema version {manifest.schema_version} and this flywheel reads "
            f"{SCHEMA_VERSION}. Run again with a new store directory, or with the flywheel that wrote it."
        )
    return manifest


def check_sizes(directory: Path, manifest: Manifest) -> None:
    """Raises DatasetError where a file is missing, of another length, or not in the manifest."""
    expected = {entry.path: entry.size for entry in manifest.files}
    for path, size in expected.items():
        try:
            found = (directory / path).stat().st_size
        except OSError as error:
            raise damaged(directory, f"{path} is missing") from error
        if found != size:
            raise damaged(directory, f"{path} has {found} bytes and should have {size}")
    for file in directory.rglob("*"):
        path = file.relative_to(directory).as_posix()
        if file.is_file() and path != MANIFEST and path not in expected:
            raise damaged(directory, f"{path} does not belong to it")


def check_digests(directory: Path, manifest: Manifest) -> None:
    """Raises DatasetError where a file's content is not what was published."""
    for entry in manifest.files:
        if _sha256(directory / entry.path) != entry.sha256:
            raise damaged(directory, f"the content of {entry.path} changed")


def damaged(directory: Path, what: str) -> DatasetError:
    """The error for a dataset that cannot be trusted."""
    return DatasetError(f"The dataset {directory} is damaged: {what}. Delete the directory and run again.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
