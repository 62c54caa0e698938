"""Small state files that are read by one process while another writes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


def write_json(path: Path, value: msgspec.Struct) -> None:
    """Replace the file as a whole: a reader sees the old or the new content, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1))
    os.replace(temporary, path)


def read_json(path: Path, kind: type[T]) -> T | None:
    """The content of the file; None where it is missing or not of this kind, as after a change of version."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
