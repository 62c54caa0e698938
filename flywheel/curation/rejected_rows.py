"""Writing records of the validated table that a later step leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from flywheel.curation.rejected import RejectedWriter
from flywheel.curation.schema import RECORD_FIELDS, REJECTED_FILE
from flywheel.curation.validated_table import read_batches, row_numbers


class RejectedRows(NamedTuple):
    """What is to be written: a line of `rejected.jsonl` in `out` for each of the rows, in the order of the table.

    `rows` are ascending row numbers, `reasons` the reason code and the detail of each; `constants` are fields that
    every record of the run shares and the table does not hold, such as the workload.
    """

    validated: Path
    out: Path
    rows: npt.NDArray[np.int64]
    reasons: Sequence[tuple[str, str]]
    constants: Mapping[str, str] | None = None


def write_rejected(job: RejectedRows) -> None:
    """Write the file; it is made where nothing is rejected, too."""
    columns = ["record_id", *RECORD_FIELDS, "file", "line"]
    rows, done = job.rows, 0
    with RejectedWriter(job.out / REJECTED_FILE) as rejected:
        for first, batch in read_batches(job.validated, columns, rows=2_048) if rows.size else ():
            end = int(np.searchsorted(rows, first + batch.num_rows))
            if end == done:
                continue
            for values in batch.take(row_numbers(rows[done:end] - first)).to_pylist():
                record = _record(values, job.constants or {})
                rejected.write(*job.reasons[done], values["file"], values["line"], record)
                done += 1


def _record(values: Mapping[str, Any], constants: Mapping[str, str]) -> dict[str, Any]:
    record: dict[str, Any] = {"id": values["record_id"], **constants}
    for name in RECORD_FIELDS:
        value = values[name]
        if isinstance(
            value, bytes
        ):  # JSON as logged; a line break in it is white space, and would end our line
            value = msgspec.Raw(value.replace(b"\n", b" ") if b"\n" in value else value)
        if value is not None:
            record[name] = value
    return record
