"""Writing records of the validated table that a later step leaves out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from flywheel.curation.rejected import RejectedWriter
from flywheel.curation.schema import RECORD_FIELDS, REJECTED_FILE
from flywheel.curation.validated_table import read_batches, row_numbers

Explain = Callable[[int], tuple[str, str]]


def write_rejected(
    validated: Path,
    out: Path,
    rows: npt.NDArray[np.int64],
    explain: Explain,
    constants: Mapping[str, str] | None = None,
) -> None:
    """Write a line of `rejected.jsonl` for each of the rows, in the order of the table.

    Args:
        rows: Row numbers, ascending.
        explain: Gives reason code and detail for an index into `rows`.
        constants: Fields that every record of the run shares and the table does not hold, such as the workload.
    """
    columns = ["record_id", *RECORD_FIELDS, "file", "line"]
    done = 0
    with RejectedWriter(out / REJECTED_FILE) as rejected:
        for first, batch in read_batches(validated, columns, rows=2_048) if rows.size else ():
            end = int(np.searchsorted(rows, first + batch.num_rows))
            if end == done:
                continue
            for values in batch.take(row_numbers(rows[done:end] - first)).to_pylist():
                record = _record(values, constants or {})
                rejected.write(*explain(done), values["file"], values["line"], record)
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
