"""The embedded dataset store: directories on a local disk.

<root>/<kind>/<kind>-<16 hex digits>/manifest.json and the files of the dataset
<root>/<kind>/.staging-...                            being written
<root>/scratch/<name>/                                survives a crash, belongs to one name
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from blocks.dataset_manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    Manifest,
    check_digests,
    check_sizes,
    damaged,
    dataset_name,
    list_files,
    parents_in,
    read_manifest,
)
from blocks.ports import DatasetRef
from flywheel.errors import DatasetError
from flywheel.naming import slug

_NAME = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)-[0-9a-f]{16}")
_STAGING = re.compile(r"\.staging-.*-(\d+)-([0-9a-f]{6})[0-9a-f]{8}")


@dataclasses.dataclass
class DirectoryStaging:
    """A dataset being written; see `blocks.ports.Staging`. `ref` is set when the dataset is published."""

    path: Path
    counts: dict[str, Any] = dataclasses.field(default_factory=dict)
    ref: DatasetRef = dataclasses.field(init=False)


class DirectoryDatasetStore:
    """Datasets as directories under `root`, on one disk, so that publishing is one rename.

    Several processes may use one store. Two that make the same dataset at once both succeed; the first to
    publish wins, and since the content follows from the key it does not matter who that is.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(root).absolute()
        self._verified: set[str] = set()

    def find(self, kind: str, key: dict[str, Any]) -> DatasetRef | None:
        """The complete dataset of this kind and key, or None. Raises DatasetError for a damaged manifest."""
        directory = self._directory(kind, key)
        manifest = read_manifest(directory)
        return _ref(directory, manifest) if manifest else None

    @contextlib.contextmanager
    def create(self, kind: str, key: dict[str, Any]) -> Iterator[DirectoryStaging]:
        """A directory to fill. It becomes the dataset when the block ends without an exception, else it goes.

        Raises: DatasetError, OSError (full disk, read-only place).
        """
        final = self._directory(kind, key)
        if final.exists() and read_manifest(final) is None:
            raise damaged(final, f"{MANIFEST} is missing")
        final.parent.mkdir(parents=True, exist_ok=True)
        staging = DirectoryStaging(final.parent / _staging_name(final.name))
        staging.path.mkdir()
        try:
            yield staging
            if (staging.path / MANIFEST).exists():
                raise DatasetError(
                    f"{MANIFEST} is written by the dataset store; give the {kind} file another name."
                )
            manifest = Manifest(
                schema_version=SCHEMA_VERSION,
                kind=kind,
                key=key,
                parents=parents_in(key),
                counts=dict(staging.counts),
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                files=list_files(staging.path),
            )
            encoded = msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2)
            (staging.path / MANIFEST).write_bytes(encoded)
            staging.ref = _publish(staging.path, final)
        finally:
            shutil.rmtree(staging.path, ignore_errors=True)

    def open(self, ref: DatasetRef) -> Path:
        """The dataset's directory. Sizes are checked every time, contents once in the life of this object.

        Raises: DatasetError where the dataset is not there or not what was published.
        """
        match = _NAME.fullmatch(ref.name)
        if match is None:
            raise DatasetError(f"{ref.name!r} is not the name of a dataset.")
        directory = self._root / match[1] / ref.name
        manifest = read_manifest(directory)
        if manifest is None:
            raise DatasetError(f"There is no dataset {ref.name} in {self._root}. Run again to make it.")
        check_sizes(directory, manifest)
        if ref.name not in self._verified:
            check_digests(directory, manifest)
            self._verified.add(ref.name)
        return directory

    def scratch(self, name: str) -> Path:
        """A directory that stays until someone deletes it, the same for the same name."""
        directory = self._root / "scratch" / slug(name, 80)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def sweep(self) -> list[Path]:
        """Remove what processes of this machine that are gone left half-written; returns what was removed."""
        gone = []
        for directory in sorted(self._root.glob("*/.staging-*")):
            match = _STAGING.fullmatch(directory.name)
            if match and match[2] == _machine() and not _is_running(int(match[1])):
                shutil.rmtree(directory, ignore_errors=True)
                gone.append(directory)
        return gone

    def _directory(self, kind: str, key: dict[str, Any]) -> Path:
        safe_kind = slug(kind)
        return self._root / safe_kind / dataset_name(safe_kind, key)


def _publish(staging: Path, final: Path) -> DatasetRef:
    """Give the directory its name, or take the dataset that another process published under it first."""
    try:
        staging.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    manifest = read_manifest(final)
    if manifest is None:
        raise damaged(final, f"{MANIFEST} is missing")
    return _ref(final, manifest)


def _ref(directory: Path, manifest: Manifest) -> DatasetRef:
    return DatasetRef(name=directory.name, uri=str(directory), counts=manifest.counts)


def _staging_name(name: str) -> str:
    return f".staging-{name}-{os.getpid()}-{_machine()}{secrets.token_hex(4)}"


def _machine() -> str:
    """A mark of this machine or container: a process id says nothing elsewhere, and a disk may be shared."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
