"""A log of many files in partitions, each a few files that stand next to each other in the log's order."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from blocks.logs.log_files import log_files


class LogPartition(BaseModel):
    """Names of files below the log's directory, in its order, and their size in bytes as they lie there."""

    model_config = ConfigDict(frozen=True)

    number: int
    files: list[str]
    size: int


def partitions_of(log: Path, most_bytes: int) -> list[LogPartition]:
    """All files of a log, in order, in as few partitions of at most so many bytes as that order allows.

    A file is never cut, so a log of one file is one partition.

    Raises: DataError where there is nothing to read.
    """
    partitions: list[LogPartition] = []
    names: list[str] = []
    size = 0
    for file in log_files(log):
        if names and size + file.size > most_bytes:
            partitions.append(LogPartition(number=len(partitions), files=names, size=size))
            names, size = [], 0
        names.append(file.name)
        size += file.size
    partitions.append(LogPartition(number=len(partitions), files=names, size=size))
    return partitions
