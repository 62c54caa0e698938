"""A file system in memory that fails on purpose: `faulty://`, for what an object store may do."""

from __future__ import annotations

import threading
from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class NoCredentialsError(Exception):
    """Named like that of the cloud's library."""


class FaultyFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """Raises `failure` at the `at`-th write from now on (0: never), once, before or after the write had its effect."""

    protocol = "faulty"
    store: dict[str, Any] = {}  # noqa: RUF012  # shared by all instances, as fsspec's own
    pseudo_dirs = [""]  # noqa: RUF012
    cachable = False

    failure: BaseException | None = None
    at = 0
    afterwards = False
    writes = 0
    _lock = threading.Lock()

    @classmethod
    def fail(cls, failure: BaseException | None, *, at: int = 1, afterwards: bool = False) -> None:
        cls.failure, cls.at, cls.afterwards, cls.writes = failure, at, afterwards, 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("faulty://", "memory://", 1)))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self._count(before=True)
        super().pipe_file(path, value, mode=mode, **options)
        self._count(before=False)

    def put_file(self, lpath: str, rpath: str, *arguments: Any, **options: Any) -> None:
        self._count(before=True)
        super().put_file(lpath, rpath, *arguments, **options)
        self._count(before=False)

    def _count(self, *, before: bool) -> None:
        cls = type(self)
        with cls._lock:
            if before:
                cls.writes += 1
            due = cls.failure is not None and cls.writes == cls.at and before != cls.afterwards
        if due:
            assert cls.failure is not None
            raise cls.failure


def register() -> None:
    """Make `faulty://` known to fsspec, as an empty place where nothing fails."""
    FaultyFileSystem.store.clear()
    FaultyFileSystem.pseudo_dirs[:] = [""]
    FaultyFileSystem.fail(None)
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
