"""In what file systems differ when something has to be written whole, once, without making what should be there."""

from __future__ import annotations

import errno
import os
from typing import Any

_NO_FOLDERS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "r2", "memory"}
"""File systems that need no folder made; some of them would make a missing bucket instead."""


def make_folder(files: Any, path: str) -> None:
    """Make a folder and those above it, where the file system has any."""
    if not _protocols(files) & _NO_FOLDERS:
        files.makedirs(path, exist_ok=True)


def create_whole(files: Any, path: str, data: bytes, *, written_first: str) -> None:
    """Write a file that nobody sees in part. Raises FileExistsError where it is there and the store can tell.

    Object stores write at once. On disks the data goes to `written_first`, which then gets the name as well.
    """
    if "file" in _protocols(files):
        make_folder(files, written_first.rpartition("/")[0])
        files.pipe_file(written_first, data)
        try:
            os.link(written_first, path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP):
                raise
            os.replace(written_first, path)  # a disk without links: the last to publish wins
        return
    try:
        files.pipe_file(path, data, mode="create")
    except (TypeError, NotImplementedError):  # a file system that does not know the mode
        files.pipe_file(path, data)


def replace_whole(files: Any, path: str, data: bytes, *, written_first: str) -> None:
    """Write a file over one that is there; readers see the old one or the new one, and nothing between."""
    if "file" not in _protocols(files):
        files.pipe_file(path, data)
        return
    make_folder(files, written_first.rpartition("/")[0])
    files.pipe_file(written_first, data)
    os.replace(written_first, path)


def _protocols(files: Any) -> set[str]:
    names = files.protocol
    return {names} if isinstance(names, str) else set(names)
