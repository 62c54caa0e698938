"""What a log store hands to the first step, and how records become columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from flywheel.curation.arrow_columns import column
from flywheel.curation.schema import EXTRACTED
from flywheel.records.log_line import LogLine

MOST_ROWS = 4_096
MOST_BYTES = 16_000_000
"""A batch ends at whichever comes first: it bounds what reading a log holds in memory."""


class Refusal(msgspec.Struct, frozen=True):
    """A line that is no record of any workload; fields as in `curation.schema.REJECTED_FILE`."""

    reason: str
    detail: str
    file: str | None
    line: int | None
    record: Any


class LogBatch(msgspec.Struct, frozen=True):
    """What a log store read in one go.

    `records` has the schema `curation.schema.EXTRACTED`; `refused` are unreadable lines; `out_of_scope` and
    `over_limit` count readable records that the query leaves out.
    """

    records: pa.RecordBatch
    refused: Sequence[Refusal] = ()
    out_of_scope: int = 0
    over_limit: int = 0


class BatchBuilder:
    """Collects what is read until it makes a batch."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._lines: list[LogLine] = []
        self._files: list[str | None] = []
        self._numbers: list[int | None] = []
        self._bytes = 0
        self.refused: list[Refusal] = []
        self.out_of_scope = 0
        self.over_limit = 0

    def add(self, line: LogLine, file: str | None, number: int | None) -> None:
        """Append a record with its origin."""
        self._lines.append(line)
        self._files.append(file)
        self._numbers.append(number)
        self._bytes += len(line.request or b"") + len(line.response or b"") + len(line.extra or b"")

    def refuse(self, refusal: Refusal) -> None:
        """Append a line that is no record."""
        self.refused.append(refusal)
        if isinstance(refusal.record, str):
            self._bytes += len(refusal.record)

    @property
    def full(self) -> bool:
        """Whether it is time to `take`."""
        return self._bytes >= MOST_BYTES or len(self._lines) + len(self.refused) >= MOST_ROWS

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take."""
        return not (self._lines or self.refused or self.out_of_scope or self.over_limit)

    def take(self) -> LogBatch:
        """What was collected, as a batch; starts over."""
        columns: list[Any] = list(zip(*self._lines, strict=True)) or [()] * len(LogLine._fields)
        columns += [self._files, self._numbers]
        # A LogLine's fields are the columns before those of the origin, in order.
        arrays = [column(values, field.type) for values, field in zip(columns, EXTRACTED, strict=True)]
        records = pa.RecordBatch.from_arrays(arrays, schema=EXTRACTED)
        batch = LogBatch(records, self.refused, self.out_of_scope, self.over_limit)
        self._clear()
        return batch
