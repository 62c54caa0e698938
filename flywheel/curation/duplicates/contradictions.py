"""Requests that production answered in materially different ways: training on both teaches neither.

Two answers are the same where they make the same calls (names and arguments, in any order, by the types of the tools'
schemas), and of two answers in words where half of the words agree: `rouge_l` from `SAME_TEXT` on. Production words
most answers anew each time, so that a stricter rule would find nothing but contradictions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from flywheel.config import DedupConfig
from flywheel.curation.validated_table import hash_words, numbers, read_columns
from flywheel.datasets.validated_rows import take_rows
from flywheel.evaluation.text_metrics import normalised, rouge_l
from flywheel.evaluation.tool_calls import calls_of, same_calls, schemas_of
from flywheel.records.messages import content_text

Rows = npt.NDArray[np.int64]

SAME_TEXT = 0.5
MOST_ANSWERS = 50
"""Different answers to one request that are looked at, those whose hash comes first."""
AT_ONCE = 500
"""Requests whose answers are in memory together."""


class Contradiction(NamedTuple):
    """A request with answers of more than one kind.

    `rows` are all its rows in the validated table, `majority` those of the kind that more than half of the answers
    are of; empty where there is none.
    """

    rows: list[int]
    majority: list[int]


class Screening(NamedTuple):
    """What is to be done about contradictions.

    `preferred` are the ids of the records that stand for their request, `rows` those of the validated table that
    nothing may be trained on.
    """

    preferred: frozenset[str]
    rows: frozenset[int]


NOTHING = Screening(frozenset(), frozenset())


def screening_of(validated: Path, config: DedupConfig, kept: Collection[str] = ()) -> Screening:
    """What the setting `dedup_config.contradictions` asks for.

    Args:
        kept: Ids of kept evaluation items; they stand for their requests whatever the majority says.
    """
    if config.contradictions == "keep":
        return NOTHING
    found = list(contradictions_of(validated))
    if config.contradictions == "drop":
        return Screening(frozenset(), frozenset(row for one in found for row in one.rows))
    table = read_columns(validated, ["record_id", "timestamp"])
    names, times = table["record_id"].to_pylist(), numbers(table["timestamp"], float("nan")).tolist()
    sign = 1 if config.representative == "oldest" else -1
    kept_ids = frozenset(kept)
    preferred = {
        min((times[row] != times[row], sign * times[row], names[row]) for row in one.majority)[-1]
        for one in found
        if one.majority and not kept_ids & {names[row] for row in one.rows}
    }
    undecided = frozenset(row for one in found if not one.majority for row in one.rows)
    return Screening(frozenset(preferred), undecided)


def contradictions_of(validated: Path, among: Collection[str] | None = None) -> Iterator[Contradiction]:
    """The contradictions of a validated table, in the order of their requests' hashes.

    Args:
        among: Look only at requests that one of these records makes; None looks at all.
    """
    table = read_columns(validated, ["record_id", "request_hash", "answer_hash"])
    names = table["record_id"].to_pylist()
    requests, answers = hash_words(table["request_hash"]), hash_words(table["answer_hash"])
    groups = list(_answered_differently(requests, answers))
    if among is not None:
        wanted = set(among)
        groups = [rows for rows in groups if any(names[row] in wanted for row in rows)]
    for begin in range(0, len(groups), AT_ONCE):
        chunk = groups[begin : begin + AT_ONCE]
        looked_at = [_one_of_each(rows, answers) for rows in chunk]
        messages = _messages(validated, sorted({row for first in looked_at for row in first.values()}))
        for rows, first in zip(chunk, looked_at, strict=True):
            kind_of = _kinds(first, messages)
            if len(set(kind_of.values())) > 1:
                yield Contradiction(rows, _majority(rows, names, answers, kind_of))


def _answered_differently(
    requests: npt.NDArray[np.uint64], answers: npt.NDArray[np.uint64]
) -> Iterator[list[int]]:
    """The rows of each request that has answers with more than one hash."""
    order = np.lexsort((answers[:, 1], answers[:, 0], requests[:, 1], requests[:, 0]))
    if not order.size:
        return
    new = np.ones(order.size, dtype=bool)
    new[1:] = (requests[order][1:] != requests[order][:-1]).any(axis=1)
    begins = np.flatnonzero(new)
    ends = np.append(begins[1:], order.size)
    differs = (answers[order[begins]] != answers[order[ends - 1]]).any(axis=1)
    for begin, end in zip(begins[differs].tolist(), ends[differs].tolist(), strict=True):
        yield order[begin:end].tolist()


Hash = tuple[int, int]


def _hash(answers: npt.NDArray[np.uint64], row: int) -> Hash:
    return int(answers[row, 0]), int(answers[row, 1])


def _one_of_each(rows: Sequence[int], answers: npt.NDArray[np.uint64]) -> dict[Hash, int]:
    """A row for each different answer, in the order of their hashes."""
    first: dict[Hash, int] = {}
    for row in rows:
        first.setdefault(_hash(answers, row), row)
        if len(first) == MOST_ANSWERS:
            break
    return first


class _Answer(NamedTuple):
    message: Mapping[str, Any]
    schemas: Mapping[str, Any]


def _messages(validated: Path, rows: Sequence[int]) -> dict[int, _Answer]:
    table = take_rows(validated, np.array(rows, dtype=np.int64), ["request", "response", "choice"])
    found = {}
    for row, values in zip(rows, table.to_pylist(), strict=True):
        response = msgspec.json.decode(values["response"])
        schemas = schemas_of(msgspec.json.decode(values["request"]))
        found[row] = _Answer(response["choices"][values["choice"]]["message"], schemas)
    return found


def _kinds(first: Mapping[Hash, int], messages: Mapping[int, _Answer]) -> dict[Hash, int]:
    """A number for each different answer: that of the first one that is materially the same."""
    kinds: list[_Answer] = []
    kind_of: dict[Hash, int] = {}
    for answer, row in first.items():
        message = messages[row]
        same = (number for number, other in enumerate(kinds) if _same(message, other))
        number = next(same, len(kinds))
        if number == len(kinds):
            kinds.append(message)
        kind_of[answer] = number
    return kind_of


def _same(left: _Answer, right: _Answer) -> bool:
    calls, others = calls_of(left.message), calls_of(right.message)
    if calls or others:
        return same_calls(calls, others, left.schemas)
    said, also = (normalised(content_text(answer.message.get("content"))) for answer in (left, right))
    return said == also or rouge_l(said, also) >= SAME_TEXT


def _majority(
    rows: Sequence[int], names: Sequence[str], answers: npt.NDArray[np.uint64], kind_of: Mapping[Hash, int]
) -> list[int]:
    """Rows of the kind with more than half of the answers; a record that was logged twice is one answer."""
    of_record = {names[row]: row for row in rows}
    kinds = {row: kind_of.get(_hash(answers, row)) for row in of_record.values()}
    counted = Counter(kind for kind in kinds.values() if kind is not None)
    most, count = counted.most_common(1)[0]
    if 2 * count <= len(kinds):
        return []
    return [row for row in rows if kind_of.get(_hash(answers, row)) == most]
