"""Records that repeat another: the same id with other content, and the same request asked again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flywheel.curation.validated_table import hash_words, numbers

Indices = npt.NDArray[np.int64]

COLUMNS = ("record_id", "timestamp", "request_hash", "answer_hash")
EXAMPLES = 20


class ExactGroups(NamedTuple):
    """The requests of a table, each once, best representative first.

    Requests are numbered 0 to n - 1 by their representative's time (in the order asked for) and id, so the numbers
    do not depend on the order of the table.
    """

    request_of: Indices  # for each row of the table; -1 for a row refused for its id
    representative: Indices  # row that stands for each request, shape (n,)
    weight: Indices  # rows of each request, shape (n,)
    id_kept: Indices  # for each row of the table: the row that keeps its id; itself unless refused
    teacher_noise: dict[str, Any]  # requests that were answered in more than one way


def exact_groups(
    table: pa.Table, representative: Literal["newest", "oldest"], kept: Collection[str] = ()
) -> ExactGroups:
    """Group rows by their canonical request.

    Of rows that share an id and differ in content the newest is kept, where times are equal the one with the
    smallest content hash; rows without a time count as the oldest, whichever is preferred.

    Args:
        table: The columns `COLUMNS` of the validated table.
        kept: Ids of records that stand for their duplicates before any other: those of a kept evaluation set.
    """
    requests, answers = hash_words(table["request_hash"]), hash_words(table["answer_hash"])
    times = numbers(table["timestamp"], float("nan"))
    newest_first = np.where(np.isnan(times), np.inf, -times)
    preferred = np.where(np.isnan(times), np.inf, times) if representative == "oldest" else newest_first
    if kept:
        first = np.fromiter((name in kept for name in table["record_id"].to_pylist()), dtype=bool)
        preferred = np.where(first, -np.inf, preferred)
    ids = numbers(pc.rank(table["record_id"].combine_chunks(), tiebreaker="dense")).astype(np.int64)

    id_kept = _rows_that_keep_their_id(ids, requests, answers, newest_first)
    rows = np.flatnonzero(id_kept == np.arange(id_kept.size))
    order, begins = _runs(requests[rows])
    rows = rows[order]
    weight = np.diff(np.append(begins, rows.size))
    chosen = rows[begins].copy()

    repeated = np.repeat(weight > 1, weight)
    group = np.repeat(np.arange(begins.size), weight)[repeated]
    several = rows[repeated]
    best = np.lexsort((answers[several, 1], answers[several, 0], ids[several], preferred[several], group))
    first = np.flatnonzero(np.diff(group[best], prepend=-1))
    chosen[group[best][first]] = several[best][first]

    number = np.lexsort((ids[chosen], preferred[chosen]))
    place = np.empty(number.size, dtype=np.int64)
    place[number] = np.arange(number.size)
    request_of = np.full(ids.size, -1, dtype=np.int64)
    request_of[rows] = np.repeat(place, weight)
    noise = _teacher_noise(table["record_id"], several, group, ids, requests, answers)
    return ExactGroups(request_of, chosen[number], weight[number], id_kept, noise)


def _rows_that_keep_their_id(
    ids: Indices,
    requests: npt.NDArray[np.uint64],
    answers: npt.NDArray[np.uint64],
    age: npt.NDArray[np.float64],
) -> Indices:
    """For each row itself, or the row that keeps the id where two contents have one."""
    kept = np.arange(ids.size)
    if not ids.size or ids.max() == ids.size:
        return kept
    rows = np.flatnonzero(np.bincount(ids)[ids] > 1)
    content = np.hstack([requests, answers])[rows]
    order = np.lexsort((*content.T[::-1], age[rows], ids[rows]))
    rows, content = rows[order], content[order]
    begins = np.flatnonzero(np.diff(ids[rows], prepend=-1))
    sizes = np.diff(np.append(begins, rows.size))
    winner = np.repeat(begins, sizes)
    other = (content != content[winner]).any(axis=1)
    kept[rows[other]] = rows[winner[other]]
    return kept


def _runs(words: npt.NDArray[np.uint64]) -> tuple[Indices, Indices]:
    """An order that puts equal hashes side by side, and where each run of equal ones begins in it."""
    order = np.argsort(words[:, 0], kind="stable")
    high, low = words[order].T
    if (low[1:] != low[:-1])[high[1:] == high[:-1]].any():
        order = np.lexsort((words[:, 1], words[:, 0]))
        high, low = words[order].T
    differs = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    return order, np.flatnonzero(np.concatenate([[True], differs])) if order.size else np.zeros(0, np.int64)


def _teacher_noise(
    names: pa.ChunkedArray,
    rows: Indices,
    group: Indices,
    ids: Indices,
    requests: npt.NDArray[np.uint64],
    answers: npt.NDArray[np.uint64],
) -> dict[str, Any]:
    """How often production answered one request in several ways; a floor under any candidate's distance to it."""
    order = np.lexsort((ids[rows], answers[rows, 1], answers[rows, 0], group))
    rows, group = rows[order], group[order]
    new_group = np.diff(group, prepend=-1) > 0
    new_answer = new_group | np.concatenate([[False], (answers[rows][1:] != answers[rows][:-1]).any(axis=1)])[
        : rows.size
    ].astype(bool)
    new_id = new_answer | np.concatenate([[False], ids[rows][1:] != ids[rows][:-1]])[: rows.size]
    asked_again = np.unique(group[~new_group & new_id])
    noisy, counts = np.unique(group[new_answer & ~new_group], return_counts=True)
    first_rows = rows[np.searchsorted(group, noisy)]
    shown = np.lexsort((requests[first_rows, 1], requests[first_rows, 0]))[:EXAMPLES]
    return {
        "repeated_requests": int(asked_again.size),
        "with_different_answers": int(noisy.size),
        "share": round(noisy.size / asked_again.size, 4) if asked_again.size else 0.0,
        "examples": [
            {
                "answers": int(counts[index]) + 1,
                "record_ids": [
                    names[int(row)].as_py() for row in rows[new_answer & (group == noisy[index])][:5]
                ],
            }
            for index in shown
        ],
    }
