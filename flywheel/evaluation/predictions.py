"""A file of predictions: one JSON line for each item, appended as answers come, put in order at the end."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from flywheel.results import Prediction

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Prediction)


def answered_before(path: Path, ids: set[str]) -> dict[str, Prediction]:
    """The answers that an earlier run left in `path` for these items; empty where there is no file.

    Errors are not answers: their items are asked again. A line that is no prediction, such as the torn last line of
    a process that was killed, is passed over, and so are items that are not asked for. The last of several counts.
    """
    return {prediction.id: prediction for _, prediction in _answers(path, ids)}


def places_answered_before(path: Path, ids: set[str]) -> dict[str, int]:
    """The same as `answered_before`, but where each line begins, in bytes, in place of what it says."""
    return {prediction.id: start for start, prediction in _answers(path, ids)}


def _answers(path: Path, ids: set[str]) -> Iterator[tuple[int, Prediction]]:
    if not path.is_file():
        return
    start = 0
    with path.open("rb") as lines:
        for line in lines:
            try:
                prediction = _DECODER.decode(line)
                if prediction.id in ids and prediction.error is None and prediction.response is not None:
                    yield start, prediction
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                pass
            start += len(line)


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Write all predictions in this order; the file is replaced in one step, or not at all."""
    write_lines(path, (_ENCODER.encode(prediction) + b"\n" for prediction in predictions))


def write_lines(path: Path, lines: Iterable[bytes]) -> array[int]:
    """The same with lines as they are to stand there; where each begins, in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    starts, position = array("q"), 0
    try:
        with staged.open("wb") as file:
            for line in lines:
                starts.append(position)
                position += file.write(line)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    return starts


class Appender:
    """Appends predictions to a file, each line in one write, so that a kill costs at most the line under way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._end = 0

    def __enter__(self) -> Appender:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        torn = _ends_within_a_line(self._path)
        self._file = self._path.open("ab", buffering=0)
        if torn:  # close it, or the next answer would be glued to it and lost with it
            self._file.write(b"\n")
        self._end = self._file.tell()
        return self

    def append(self, prediction: Prediction) -> int:
        """Write one line, and return where it begins, in bytes. Raises OSError, e.g. where the disk is full."""
        if self._file is None:
            raise ValueError("the file is not open; use the appender in a `with` block")
        line = _ENCODER.encode(prediction) + b"\n"
        written = self._file.write(line)
        if written != len(line):
            raise OSError(f"only {written} of {len(line)} bytes could be written to {self._path}")
        start = self._end
        self._end += written
        return start

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def _ends_within_a_line(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
