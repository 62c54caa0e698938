"""Reading items and predictions that somebody else wrote: every fault is named with its file and line."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from flywheel.errors import ConfigError, DataError
from flywheel.evaluation.item_file import ItemFile
from flywheel.results import EvalItem, Prediction

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class _Item(msgspec.Struct):
    """What a row must have; `cluster` and `weight` may be missing in rows from elsewhere."""

    id: str
    request: dict[str, Any]
    response: dict[str, Any]
    cluster: str | None = None
    weight: Annotated[int, msgspec.Meta(ge=0)] = 1
    conversation: str | None = None
    timestamp: float | None = None


class _Line(msgspec.Struct):
    id: str
    response: Any = None
    latency_ms: float | None = None
    error: Any = None


def read_items(path: Path) -> ItemFile:
    """The rows of an `eval_data.jsonl`, checked and then read when they are wanted, one at a time.

    A row without a cluster is a cluster of its own.

    Raises:
        ConfigError: There is no such file.
        DataError: A line is no row, an id stands twice, or there is no row at all.
    """
    decoder = msgspec.json.Decoder(_Item)
    ids: dict[str, None] = {}
    starts = array("q")
    for where, start, line in _lines(path):
        row = _decoded(decoder, line, where, '{"id", "request", "response", "cluster", "weight"}')
        if row.id in ids:
            raise DataError(
                f"{where}: the id {row.id!r} stands in an earlier line too; each item needs its own."
            )
        ids[row.id] = None
        starts.append(start)
    if not ids:
        raise DataError(f"{path} holds no evaluation items; `flywheel curate` writes base/eval_data.jsonl.")

    def item(line: bytes) -> EvalItem:
        row = decoder.decode(line.removeprefix(BYTE_ORDER_MARK))
        cluster = f"item {row.id}" if row.cluster is None else row.cluster
        return EvalItem(
            row.id, row.request, row.response, cluster, row.weight, row.conversation, row.timestamp
        )

    return ItemFile(path, list(ids), starts, item)


def read_predictions(path: Path, ids: Collection[str]) -> dict[str, Prediction]:
    """Predictions by item id, unscored. A response that is no object is kept as an error: it is an answer unusable.

    Raises:
        ConfigError: There is no such file.
        DataError: A line is no prediction, is one for an item that is not in `ids`, or the second for its item.
    """
    decoder = msgspec.json.Decoder(_Line)
    found: dict[str, Prediction] = {}
    for where, _, line in _lines(path):
        row = _decoded(decoder, line, where, '{"id", "response", "latency_ms", "error"}')
        if row.id not in ids:
            raise DataError(
                f"{where}: no item has the id {row.id!r}; score predictions against the items they were made from."
            )
        if row.id in found:
            raise DataError(f"{where}: {row.id!r} has an earlier prediction too; keep the one that counts.")
        found[row.id] = _prediction(row)
    return found


def _prediction(row: _Line) -> Prediction:
    error = None if row.error is None else row.error if isinstance(row.error, str) else str(row.error)
    response = row.response
    if response is not None and not isinstance(response, dict):
        response, error = None, error or "the response is no chat completion: it is no JSON object"
    return Prediction(row.id, response, row.latency_ms, error)


def _lines(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """Each line that is not blank, with its place as `file:line` and where it begins, in bytes."""
    if not path.is_file():
        raise ConfigError(f"{path} is no file; give the path of a JSONL file.")
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            if text.strip():
                yield f"{path}:{number}", start, text
            start += len(line)


def _decoded(decoder: msgspec.json.Decoder[Any], line: bytes, where: str, shape: str) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: expected one JSON object {shape}, but: {error}") from error
