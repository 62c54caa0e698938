"""Datasets being made in a local directory: under a name of their own, by one maker at a time, swept when it died."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from blocks.datasets.dataset_manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    FileEntry,
    Manifest,
    list_files,
    parents_in,
)
from blocks.ports import DatasetRef
from flywheel.errors import DatasetError
from flywheel.progress import Progress

LOCKS = ".locks"
ORPHANED = timedelta(hours=24)
"""How long something must lie untouched before it counts as left behind, where its maker cannot be asked."""

_STAGING = re.compile(r"\.staging-.*-(\d+)-([0-9a-f]{6})[0-9a-f]{8}")
_LONGEST_WAIT = timedelta(minutes=30)
_WAIT_AT_A_TIME = 0.5


@dataclasses.dataclass
class DirectoryStaging:
    """A dataset being written; see `blocks.ports.Staging`. `ref` is set when the dataset is published."""

    path: Path
    counts: dict[str, Any] = dataclasses.field(default_factory=dict)
    ref: DatasetRef = dataclasses.field(init=False)


@contextlib.contextmanager
def staging_directory(parent: Path, name: str) -> Iterator[DirectoryStaging]:
    """A fresh directory below `parent`; what is still there at the end goes."""
    parent.mkdir(parents=True, exist_ok=True)
    staging = DirectoryStaging(parent / _staging_name(name))
    staging.path.mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging.path, ignore_errors=True)


def discard(directory: Path) -> None:
    """Remove a dataset such that nobody sees a part of it, and `sweep_directory` ends what a killed process began."""
    going = directory.parent / _staging_name(directory.name)
    directory.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def write_manifest(staging: DirectoryStaging, kind: str, key: dict[str, Any]) -> Manifest:
    """Describe the files of a staging directory in its manifest. Raises DatasetError, OSError."""
    if (staging.path / MANIFEST).exists():
        raise DatasetError(f"{MANIFEST} is written by the dataset store; give the {kind} file another name.")
    files: list[FileEntry] = list_files(staging.path)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        kind=kind,
        key=key,
        parents=parents_in(key),
        counts=dict(staging.counts),
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        files=files,
    )
    (staging.path / MANIFEST).write_bytes(encoded(manifest))
    return manifest


def encoded(value: Any) -> bytes:
    """JSON for people and programs, the same bytes for the same content."""
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=2)


@contextlib.contextmanager
def one_at_a_time(
    root: Path, name: str, progress: Progress, longest_wait: timedelta = _LONGEST_WAIT
) -> Iterator[None]:
    """Held by one maker of `name` on this machine; others wait, and say so through `progress`.

    A killed holder frees it. Whoever has waited for `longest_wait` goes on without: making a dataset twice costs time
    and nothing else.
    """
    directory = root / LOCKS
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / name, thread_local=False)
    started = time.monotonic()
    while True:
        try:
            lock.acquire(timeout=_WAIT_AT_A_TIME, poll_interval=0.05)
            break
        except Timeout:
            waited = time.monotonic() - started
            progress(
                "waiting for another maker", int(waited), None, name
            )  # raises when the task was cancelled
            if waited >= longest_wait.total_seconds():
                break
    try:
        yield
    finally:
        lock.release()


def sweep_directory(root: Path, older_than: timedelta, *, dry_run: bool = False) -> list[Path]:
    """Remove what was left half-written below `root`; returns what was removed, or would be.

    What a process of this machine left that is gone goes at once; what another machine's left, when nothing in it has
    changed for `older_than`. What a living process writes stays. Old files of locks go too.
    """
    gone = []
    for directory in sorted([*root.glob("*/.staging-*"), *root.glob("*/*/.staging-*")]):
        match = _STAGING.fullmatch(directory.name)
        if match is None:
            continue
        if match[2] == _machine():
            left_behind = not _is_running(int(match[1]))
        else:
            left_behind = _untouched_for(directory) > older_than
        if left_behind:
            if not dry_run:
                shutil.rmtree(directory, ignore_errors=True)
            gone.append(directory)
    for lock in (root / LOCKS).glob("*"):
        if not dry_run and _untouched_for(lock) > older_than:
            lock.unlink(missing_ok=True)
    return gone


def _staging_name(name: str) -> str:
    return f".staging-{name}-{os.getpid()}-{_machine()}{secrets.token_hex(4)}"


def _untouched_for(path: Path) -> timedelta:
    newest = 0.0
    for found in (path, *path.rglob("*")):
        with contextlib.suppress(OSError):  # gone meanwhile
            newest = max(newest, found.stat().st_mtime)
    return timedelta(seconds=max(0.0, time.time() - newest))


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
