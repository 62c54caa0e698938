"""Requests that the log holds more than once, with every answer that production gave."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from flywheel.curation.validated_table import hash_words, read_columns
from flywheel.datasets.validated_rows import take_rows
from flywheel.results import EvalItem

MOST_REQUESTS = 400
MOST_ANSWERS = 4  # of one request, the first one included


def repeated_answers(
    validated: Path, most_requests: int = MOST_REQUESTS
) -> Iterator[tuple[EvalItem, list[dict[str, Any]]]]:
    """One of the answers as an item, whose reference it is, and the others.

    A record that was logged twice under one id is one answer. Of more requests than `most_requests` those are taken
    whose hash comes first, so the choice is the same whatever the order of the log.
    """
    table = read_columns(validated, ["record_id", "request_hash"])
    words = hash_words(table["request_hash"])
    order = np.lexsort((words[:, 1], words[:, 0]))
    sorted_words = words[order]
    new = np.ones(order.size, dtype=bool)
    new[1:] = (sorted_words[1:] != sorted_words[:-1]).any(axis=1)
    begins = np.flatnonzero(new)
    sizes = np.diff(np.append(begins, order.size))
    ids = table["record_id"]
    groups: list[list[int]] = []
    for begin, size in zip(begins[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        rows = {ids[row].as_py(): row for row in sorted(order[begin : begin + size].tolist())}
        if len(rows) > 1:
            groups.append([rows[name] for name in sorted(rows, key=_drawn)][:MOST_ANSWERS])
        if len(groups) == most_requests:
            break
    wanted = np.array(sorted(row for group in groups for row in group), dtype=np.int64)
    rows_of_table = take_rows(validated, wanted, ["record_id", "request", "response", "choice"])
    place = {row: position for position, row in enumerate(wanted.tolist())}
    for group in groups:
        first, *others = (rows_of_table.slice(place[row], 1).to_pylist()[0] for row in group)
        item = EvalItem(
            first["record_id"],
            msgspec.json.decode(first["request"]),
            _chosen(first),
            f"repeats of {first['record_id']}",
        )
        yield item, [_chosen(other) for other in others]


def _drawn(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


def _chosen(row: dict[str, Any]) -> dict[str, Any]:
    """The response with the choice that is used alone."""
    response: dict[str, Any] = msgspec.json.decode(row["response"])
    return response | {"choices": [response["choices"][row["choice"]]]}
