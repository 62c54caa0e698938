"""From a page to columns without a stop at single records, where nothing in the page has to be thought over."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa

from blocks.elasticsearch.pages import Hit, RawHit
from blocks.ports import LogQuery
from flywheel.curation.arrow_columns import column
from flywheel.curation.schema import EXTRACTED
from flywheel.errors import DataError
from flywheel.records.timestamps import EARLIEST, LATEST, to_seconds

_AS_THEY_ARE = (
    *("id", "workload_id", "client_id", "conversation_id", "description"),
    *("latency_ms", "tokens_in", "tokens_out", "request", "response"),
)
_BRACE = ord("{")


def plain_columns(hits: Sequence[Hit | RawHit], query: LogQuery, longest: int) -> pa.RecordBatch | None:
    """The records of a page, if every one of them is of the workload and client, whole, and not longer than `longest`.

    The same as `Scope.judge` gives one by one, for a query without window and share. None sends the page there.
    """
    if not hits or query.since is not None or query.until is not None or query.traffic_share < 1:
        return None
    sources: list[Any] = [hit.source for hit in hits]
    if not isinstance(hits[0], Hit):
        return None
    if {source.workload_id for source in sources} != {query.workload_id}:
        return None
    if {source.client_id for source in sources} != {query.client_id}:
        return None
    try:
        times = _in_seconds([source.timestamp for source in sources])
    except DataError:
        return None
    values: dict[str, list[Any]] = {name: list(map(attrgetter(name), sources)) for name in _AS_THEY_ARE}
    lengths = np.array(list(map(len, values["request"]))) + np.array(list(map(len, values["response"])))
    if lengths.max() > longest:
        return None
    nothing: list[Any] = [None] * len(sources)
    values |= {
        "timestamp": times,
        "extra": nothing,
        "file": [f"{hit.index}/{hit.id}" for hit in hits],
        "line": nothing,
    }
    arrays = {field.name: column(values[field.name], field.type) for field in EXTRACTED}
    if not (_are_objects(arrays["request"]) and _are_objects(arrays["response"])):
        return None
    return pa.RecordBatch.from_arrays([arrays[field.name] for field in EXTRACTED], schema=EXTRACTED)


def _in_seconds(times: list[Any]) -> list[Any]:
    if {type(time) for time in times} <= {int, float} and EARLIEST <= min(times) <= max(times) < LATEST:
        return times
    return [None if time is None else to_seconds(time) for time in times]


def _are_objects(payloads: pa.Array) -> bool:
    """Whether each value begins as a JSON object does; a value that is missing has no beginning."""
    _, offsets, data = payloads.buffers()
    begins = np.frombuffer(offsets, dtype=np.int64)
    if np.any(begins[1:] == begins[:-1]):
        return False
    return bool(np.all(np.frombuffer(data, dtype=np.uint8)[begins[:-1]] == _BRACE))
