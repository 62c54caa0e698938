"""Kept evaluation items that the log does not hold any more are read as if it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa

from flywheel.curation.arrow_columns import column
from flywheel.curation.batches import LogBatch
from flywheel.curation.schema import EXTRACTED, RECORD_FIELDS, VALIDATED
from flywheel.curation.validated_table import row_numbers
from flywheel.records.plain import encode_deterministic, plain_value

Key = tuple[float | None, bytes | None, bytes | None]


def with_kept(
    batches: Iterable[LogBatch], kept: pa.Table, note: Callable[[int], None] = lambda missing: None
) -> Iterator[LogBatch]:
    """The batches, and after them one with those of the kept records that were in none.

    A record is the same where time, request and response are, however their JSON is written: a log may give no ids,
    and one that was moved into another store is spelled anew. Nothing is added to a log that has nothing, so that an
    empty one is still an error.

    Args:
        kept: Records as `EXTRACTED`.
        note: Told how many were added.
    """
    seen: set[int] = set()
    anything = False
    for batch in noting_seen(batches, kept, seen):
        yield batch
        anything |= batch.records.num_rows > 0
    unseen = sorted(set(range(kept.num_rows)) - seen) if anything else []
    note(len(unseen))
    yield from kept_batches(kept, unseen)


def kept_batches(kept: pa.Table, places: Sequence[int]) -> Iterator[LogBatch]:
    """Some of the kept records, as a log store would read them."""
    if places:
        rows = row_numbers(np.array(places, dtype=np.int64))
        for records in kept.take(rows).combine_chunks().to_batches():
            yield LogBatch(records)


def noting_seen(batches: Iterable[LogBatch], kept: pa.Table, seen: set[int]) -> Iterator[LogBatch]:
    """The batches; the places of the kept records that are among them are added to `seen`."""
    missing: dict[Key, list[int]] = {}
    keys = (_key(records, row) for records in kept.to_batches() for row in range(records.num_rows))
    for place, key in enumerate(keys):
        missing.setdefault(key, []).append(place)
    times = {time for time, _, _ in missing}
    for batch in batches:
        yield batch
        if not missing:
            continue
        for place, time in enumerate(batch.records["timestamp"].to_pylist()):
            if time in times:
                seen.update(missing.pop(_key(batch.records, place), ()))


def as_extracted(validated_rows: pa.Table, workload_id: str, client_id: str) -> pa.Table:
    """Rows of the validated table (all columns of it that a log has) as records of a log, ids included."""
    count = validated_rows.num_rows
    constants = {"workload_id": workload_id, "client_id": client_id}
    names = {field.name for field in VALIDATED}
    columns = []
    for field in EXTRACTED:
        if field.name == "id":
            columns.append(validated_rows["record_id"])
        elif field.name in constants:
            columns.append(column([constants[field.name]] * count, field.type))
        elif field.name in names:
            columns.append(validated_rows[field.name])
        else:
            columns.append(column([None] * count, field.type))
    return pa.Table.from_arrays(columns, schema=EXTRACTED)


KEPT_COLUMNS = ["record_id", *RECORD_FIELDS, "file", "line"]
"""Columns of the validated table that `as_extracted` takes."""


def _key(records: pa.RecordBatch, place: int) -> Key:
    time, request, response = (records[name][place].as_py() for name in ("timestamp", "request", "response"))
    return time, _one_spelling(request), _one_spelling(response)


def _one_spelling(document: bytes | None) -> bytes | None:
    try:
        return None if document is None else encode_deterministic(plain_value(msgspec.json.decode(document)))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return document
