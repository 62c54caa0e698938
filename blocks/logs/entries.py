"""The records of a log file: lines of JSON, rows of Parquet, or calls that a tracing tool recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from blocks.logs.log_files import LogFile, Piece, Row, lines_of, rows_of
from blocks.logs.trace_files import calls_in
from flywheel.records.log_line import Unknown
from flywheel.traces.calls import Labels


class Entry(NamedTuple):
    """A record that is there; `problem` (a reason code and a sentence) where it is none.

    `number` is of the line or row, from 1; several calls may stand in one line.
    """

    file: LogFile
    number: int
    source: bytes | Unknown
    problem: tuple[str, str] | None


def entries_of(file: LogFile, raw: BinaryIO, longest: int, labels: Labels) -> Iterator[Entry]:
    """Yield what an open file holds.

    Args:
        longest: Of a record, in bytes; longer ones have the problem `too_large`.
        labels: What tells the workload and client of calls that a tracing tool recorded.
    """
    pieces: Iterator[Piece] | Iterator[Row]
    if file.kind == "parquet":
        pieces = rows_of(file, longest)
    else:
        pieces = calls_in(file, raw, longest, labels) or lines_of(file, raw, longest)
    for number, source, problem in pieces:
        yield Entry(file, number, source, problem)
