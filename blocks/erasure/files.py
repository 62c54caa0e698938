"""One file of a dataset without some records: JSONL by line, Parquet by row. Nothing is written on a dry run.

rows by id                eval_data.jsonl, predictions.jsonl, verdicts.jsonl, index.jsonl, ...: the line goes
rejected.jsonl            the line stays with its reason, so that counts add up; the record in it goes
training.jsonl            rows have no id: the lines go that index.jsonl says are the record's
extracted, kept, assigned the row goes
validated                 later tables refer to rows by number, so the row stays and everything in it goes
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.curation.arrow_columns import column
from flywheel.curation.schema import VALIDATED

_ENCODER = msgspec.json.Encoder()
_ID_COLUMNS = ("record_id", "id")
_LEFT = frozenset({"record_id", "file", "line"})
"""Columns of the validated table that say which row it was, and nothing of what was in it."""


def lines_of(path: Path, wanted: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Position and content of the lines in which any of the byte strings stands; lines that are no objects are not."""
    needles = list(wanted)
    with path.open("rb") as file:
        for position, line in enumerate(file):
            if any(needle in line for needle in needles):
                try:
                    value = msgspec.json.decode(line)
                except (msgspec.DecodeError, RecursionError):
                    continue
                if isinstance(value, dict):
                    yield position, value


def needles(ids: Collection[str]) -> list[bytes]:
    """How ids stand in JSON, in both ways of writing letters that are not ASCII."""
    import json

    return sorted({_ENCODER.encode(name) for name in ids} | {json.dumps(name).encode() for name in ids})


def positions_by_id(path: Path, ids: Collection[str]) -> dict[int, str]:
    """The lines whose `id` is one of these."""
    return {
        position: value["id"] for position, value in lines_of(path, needles(ids)) if value.get("id") in ids
    }


def count_lines(path: Path) -> int:
    """Lines of a file; 0 where there is none."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


def without_lines(path: Path, positions: Collection[int]) -> None:
    """Rewrite a file without these lines."""
    gone = set(positions)
    _rewrite(path, lambda position, line: None if position in gone else line)


def without_content(path: Path, positions: Collection[int]) -> None:
    """Rewrite a rejected file: these lines keep reason and origin, and lose the record and what was said of it."""
    gone = set(positions)

    def emptied(position: int, line: bytes) -> bytes:
        if position not in gone:
            return line
        value = msgspec.json.decode(line)
        return (
            _ENCODER.encode({**value, "detail": "The record was erased on request.", "record": None}) + b"\n"
        )

    _rewrite(path, emptied)


def _rewrite(path: Path, change: Callable[[int, bytes], bytes | None]) -> None:
    fresh = path.with_name(f".{path.name}.erasing")
    with path.open("rb") as old, fresh.open("wb") as new:
        for position, line in enumerate(old):
            changed = change(position, line)
            if changed is not None:
                new.write(changed)
    os.replace(fresh, path)


def rows_of(path: Path, ids: Collection[str]) -> dict[int, str]:
    """The rows of a Parquet file that bear one of these ids; none where it has no ids."""
    found: dict[int, str] = {}
    first = 0
    with pq.ParquetFile(path) as file:
        name = next((name for name in _ID_COLUMNS if name in file.schema_arrow.names), None)
        if name is None:
            return found
        for batch in file.iter_batches(columns=[name]):
            for position, value in enumerate(batch.column(0).to_pylist(), first):
                if value in ids:
                    found[position] = value
            first += batch.num_rows
    return found


def origins_of(path: Path, rows: Collection[int]) -> list[tuple[str | None, int | None]]:
    """File and line of the log that these rows came from."""
    with pq.ParquetFile(path) as file:
        table = file.read(["file", "line"], use_threads=False)
    return [(table["file"][row].as_py(), table["line"][row].as_py()) for row in sorted(rows)]


def without_rows(path: Path, rows: Collection[int]) -> None:
    """Rewrite a Parquet file: without these rows or, of the validated table, with nothing in them."""
    gone = set(rows)
    fresh = path.with_name(f".{path.name}.erasing")
    first = 0
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        emptied = schema.equals(VALIDATED)
        with pq.ParquetWriter(fresh, schema, compression="zstd") as writer:
            for batch in file.iter_batches():
                inside = [row - first for row in sorted(gone) if first <= row < first + batch.num_rows]
                first += batch.num_rows
                if inside:
                    batch = _emptied(batch, inside) if emptied else _dropped(batch, inside)
                if batch.num_rows:
                    writer.write_batch(batch)
    os.replace(fresh, path)


def _dropped(batch: pa.RecordBatch, rows: list[int]) -> pa.RecordBatch:
    kept = sorted(set(range(batch.num_rows)) - set(rows))
    return batch.take(column(kept, pa.int64()))


def _emptied(batch: pa.RecordBatch, rows: list[int]) -> pa.RecordBatch:
    arrays = []
    for field in batch.schema:
        values = batch.column(field.name).to_pylist()
        if field.name not in _LEFT:
            for row in rows:
                values[row] = _nothing(field)
        arrays.append(column(values, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def _nothing(field: pa.Field) -> Any:
    if pa.types.is_large_binary(field.type):
        return b"{}"
    if pa.types.is_list(field.type):
        return []
    if pa.types.is_string(field.type):
        return ""
    if pa.types.is_fixed_size_binary(field.type):
        return bytes(field.type.byte_width)
    return 0 if pa.types.is_integer(field.type) else None
