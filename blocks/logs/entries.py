"""The records of a log file: lines of JSON, rows of Parquet, or calls that a tracing tool recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from blocks.logs.log_files import LogFile, Piece, Row, lines_of, rows_of
from blocks.logs.trace_files import calls_in
from flywheel.traces.calls import Labels

Entry = Piece | Row
"""A record that is there, or why it is none. `number` is of the line or row, from 1; several calls may stand in one
line."""


def entries_of(file: LogFile, raw: BinaryIO, longest: int, labels: Labels) -> Iterator[Piece] | Iterator[Row]:
    """Yield what an open file holds.

    Args:
        longest: Of a record, in bytes; longer ones have the problem `too_large`.
        labels: What tells the workload and client of calls that a tracing tool recorded.
    """
    if file.kind == "parquet":
        return rows_of(file, longest)
    return calls_in(file, raw, longest, labels) or lines_of(file, raw, longest)
