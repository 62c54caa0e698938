"""Reading the validated table: a few columns at a time, in the order that numbers its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.curation.arrow_columns import column as column_of
from flywheel.curation.schema import VALIDATED, VALIDATED_FILES

BATCH_ROWS = 8_192


def read_batches(
    validated: Path, columns: Sequence[str], rows: int = BATCH_ROWS
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield `(row number of its first row, batch)` over all parts."""
    first = 0
    for path in sorted(validated.glob(VALIDATED_FILES)):
        with pq.ParquetFile(path) as part:
            for batch in part.iter_batches(batch_size=rows, columns=list(columns)):
                yield first, batch
                first += batch.num_rows


def read_columns(validated: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of all rows, in memory."""
    schema = pa.schema([VALIDATED.field(name) for name in columns])
    return pa.Table.from_batches([batch for _, batch in read_batches(validated, columns)], schema=schema)


def numbers(column: pa.ChunkedArray | pa.Array, missing: float = 0) -> npt.NDArray[Any]:
    """A column of numbers, `missing` where it is null.

    `numpy.asarray` and `pyarrow.compute.fill_null` would do, but spend half a second on importing pandas.
    """
    array = _one_chunk(column)
    dtype = np.dtype(array.type.to_pandas_dtype())
    end = array.offset + len(array)
    values = np.frombuffer(array.buffers()[1] or b"", dtype=dtype, count=end if len(array) else 0)
    return (
        np.where(_present(array), values[array.offset :], dtype.type(missing))
        if array.null_count
        else values[array.offset :]
    )


def hash_words(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.uint64]:
    """A column of 16-byte hashes as numbers, shape (n, 2), most significant first; null becomes zero."""
    array = _one_chunk(column)
    count = 2 * (array.offset + len(array)) if len(array) else 0
    words = np.frombuffer(array.buffers()[1] or b"", dtype=">u8", count=count)[2 * array.offset :]
    words = words.astype(np.uint64).reshape(-1, 2)
    if array.null_count:
        words[~_present(array)] = 0
    return words


def codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """A number for each distinct value of a column; -1 where it is null."""
    return numbers(_one_chunk(column).dictionary_encode().indices, -1).astype(np.int64)


def text_bytes(column: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The UTF-8 bytes of a column of texts end to end, and where each begins, shape (n + 1,); null is empty."""
    if column.null_count:
        column = column_of([text or "" for text in column.to_pylist()], pa.string())
    wide = column.cast(pa.large_string())
    offsets = np.frombuffer(wide.buffers()[1], dtype=np.int64, count=wide.offset + len(wide) + 1)[
        wide.offset :
    ]
    data = np.frombuffer(wide.buffers()[2] or b"", dtype=np.uint8)[offsets[0] : offsets[-1]]
    return data, offsets - offsets[0]


def _one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # older releases answer with one where there is nothing to combine
        return whole.chunk(0) if whole.num_chunks else column_of([], column.type)
    return whole


def _present(array: pa.Array) -> npt.NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(array.buffers()[0], dtype=np.uint8), bitorder="little")
    return bits[array.offset : array.offset + len(array)].astype(bool)


def row_numbers(numbers: npt.NDArray[np.int64]) -> pa.Array:
    """Whole numbers as a column, without `pa.array`, whose first call spends half a second on importing pandas."""
    data = np.ascontiguousarray(numbers, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), data.size, [None, pa.py_buffer(data)])


def flags(values: npt.NDArray[np.bool_]) -> pa.Array:
    """Truth values as a column; see `row_numbers`."""
    packed = pa.py_buffer(np.packbits(values, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), values.size, [None, packed])
