"""First step: what a log store reads, written as columns.

The payloads stay as they were logged; nobody has decoded them yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.curation.batches import LogBatch, Refusal
from flywheel.curation.intake import Intake
from flywheel.curation.rejected import RejectedWriter
from flywheel.curation.schema import EXTRACTED, REJECTED_FILE
from flywheel.errors import DataError
from flywheel.progress import Progress

PART_ROWS = 2_500
PART_BYTES = 8_000_000
"""A part ends at whichever comes first. Validation takes a part at a time on each core, from the second part on: small
ones let it begin early and end on all cores together."""

COMPRESSION = {"compression": "zstd", "compression_level": 1}
REPEATING = ["workload_id", "client_id", "conversation_id", "description", "file"]
"""Columns worth a dictionary; one over the payloads would hold each of them."""


def extract(
    batches: Iterable[LogBatch],
    out: Path,
    progress: Progress,
    on_part: Callable[[Path], None] = lambda part: None,
    intake: Intake | None = None,
    nothing_is_fine: bool = False,
) -> dict[str, Any]:
    """Write the records as `extracted-*.parquet` and the unreadable lines as `rejected.jsonl` into `out`.

    Args:
        on_part: Called with each part when it is whole, in the order of their names.
        intake: Leaves out and redacts what has to be, and adds its counts.
        nothing_is_fine: Do not raise where there is no record: another partition of the log may have some.
    Returns:
        Counts: `lines` = `out_of_scope` + `over_limit` + `read`; `invalid` of those read are unreadable
        lines, which `reasons` shares out.
    Raises:
        DataError: No record is of the workload and client that were asked for.
    """
    out.mkdir(parents=True, exist_ok=True)
    counts: dict[str, Any] = {"lines": 0, "out_of_scope": 0, "over_limit": 0, "read": 0, "invalid": 0}
    first: Refusal | None = None
    with RejectedWriter(out / REJECTED_FILE) as rejected, _PartWriter(out) as parts:
        for batch in batches if intake is None else intake.of(batches):
            for refusal in batch.refused:
                first = first or refusal
                rejected.write(refusal.reason, refusal.detail, refusal.file, refusal.line, refusal.record)
            parts.write(batch.records)
            parts.hand_over(on_part)
            counts["out_of_scope"] += batch.out_of_scope
            counts["over_limit"] += batch.over_limit
            counts["read"] += batch.records.num_rows + len(batch.refused)
            counts["invalid"] += len(batch.refused)
            progress("extract", counts["read"], None, "records")
    parts.hand_over(on_part)
    counts["lines"] = counts["out_of_scope"] + counts["over_limit"] + counts["read"]
    counts["reasons"] = dict(sorted(rejected.reasons.items()))
    if counts["read"] == counts["invalid"] and not nothing_is_fine:
        raise no_records(counts, first)
    return counts if intake is None else counts | intake.counts()


def no_records(counts: Mapping[str, Any], first: Refusal | None = None) -> DataError:
    """What to say of a log without one record: `counts` as `extract` gives them, `first` an unreadable line."""
    unreadable = "".join(f", {count} of them {reason}" for reason, count in counts["reasons"].items())
    example = ""
    if first is not None:
        place = first.file if first.line is None else f"{first.file}:{first.line}"
        example = f" The first of them ({place}): {first.detail}"
    return DataError(
        f"none of the log's {counts['lines']} lines is a record of this workload, client and time{unreadable}; "
        f"`flywheel workloads` lists what there is.{example}"
    )


class _PartWriter:
    """Writes batches into numbered files; compressing one goes on while the next is read."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._writer: pq.ParquetWriter | None = None
        self._parts = self._rows = self._bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="extract")
        self._pending: Future[None] | None = None
        self._whole: deque[Path] = deque()

    def write(self, batch: pa.RecordBatch) -> None:
        self._wait()
        self._pending = self._thread.submit(self._write, batch)

    def hand_over(self, on_part: Callable[[Path], None]) -> None:
        """Call `on_part` with the parts that have become whole since the last time."""
        while self._whole:
            on_part(self._whole.popleft())

    def _wait(self) -> None:
        # One batch at most is under way: that bounds memory, and an error comes up where the next batch is
        # written.
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path(), EXTRACTED, use_dictionary=REPEATING, **COMPRESSION)
        if batch.num_rows:
            self._writer.write_batch(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= PART_ROWS or self._bytes >= PART_BYTES:
            self._close_part()

    def _path(self) -> Path:
        return self._out / f"extracted-{self._parts:05d}.parquet"

    def _close_part(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._whole.append(self._path())
        self._writer = None
        self._parts += 1
        self._rows = self._bytes = 0

    def __enter__(self) -> _PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._wait()
        finally:
            self._thread.shutdown(wait=True)
            if self._writer is not None:
                self._close_part()
