"""Fetching records of the validated table by their row numbers, a part at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.curation.schema import ASSIGNMENT_FILE, VALIDATED, VALIDATED_FILES
from flywheel.curation.validated_table import row_numbers
from flywheel.errors import DatasetError

Rows = npt.NDArray[np.int64]


class Part(NamedTuple):
    """One file of the validated table: it holds the rows `first` to `first + size - 1`."""

    path: Path
    first: int
    size: int


def parts_of(validated: Path) -> list[Part]:
    """The table's files in the order that numbers its rows.

    Raises: DatasetError where there are none.
    """
    parts, first = [], 0
    for path in sorted(validated.glob(VALIDATED_FILES)):
        size = pq.read_metadata(path).num_rows
        parts.append(Part(path, first, size))
        first += size
    if not parts:
        raise DatasetError(f"{validated} holds no validated records; run the curation again from its start.")
    return parts


def groups_of(parts: Sequence[Part], most: int) -> list[list[Part]]:
    """The parts in their order in at most so many groups, none of them empty, nearly equal in number."""
    if not parts:
        return []
    places = np.array_split(np.arange(len(parts)), min(len(parts), most))
    return [[parts[place] for place in group] for group in places]


def read_assignment(assignment: Path) -> pa.Table:
    """The assignment in the order of its record ids: the order of every dataset's rows."""
    path = assignment / ASSIGNMENT_FILE if assignment.is_dir() else assignment
    if not path.is_file():
        raise DatasetError(f"{path} is missing; run the curation again from its start.")
    columns = ["row", "record_id", "answer_class", "cluster", "weight", "split"]
    # `pyarrow.parquet.read_table` would import pyarrow.dataset first, which takes longer than the reading.
    with pq.ParquetFile(path) as file:
        return file.read(columns, use_threads=False).sort_by("record_id")


def batches_of(part: Part, rows: Rows, columns: Sequence[str]) -> Iterator[tuple[Rows, pa.RecordBatch]]:
    """Yield `(rows, batch)` with the wanted rows of one part, ascending; other rows are not turned into
    objects.

    Args:
        rows: Ascending row numbers of the whole table, all of them inside the part.
    """
    first = part.first
    for batch in pq.ParquetFile(part.path).iter_batches(batch_size=2_048, columns=list(columns)):
        low, high = np.searchsorted(rows, [first, first + batch.num_rows])
        if high > low:
            chosen = rows[low:high]
            yield chosen, batch if high - low == batch.num_rows else batch.take(row_numbers(chosen - first))
        first += batch.num_rows


def take_rows(validated: Path, rows: Rows, columns: Sequence[str]) -> pa.Table:
    """The wanted rows in the order of `rows`, which may be any; held in memory, so keep them few."""
    ascending = np.sort(rows)
    batches = [
        batch
        for part in parts_of(validated)
        for _, batch in batches_of(part, rows_inside(ascending, part), columns)
    ]
    if not batches:
        return VALIDATED.empty_table().select(list(columns))
    table = pa.Table.from_batches(batches)
    return table.take(row_numbers(np.searchsorted(ascending, rows)))


def rows_inside(ascending: Rows, part: Part) -> Rows:
    """Those of the ascending row numbers that lie in the part."""
    low, high = np.searchsorted(ascending, [part.first, part.first + part.size])
    return ascending[low:high]
