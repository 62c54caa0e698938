"""Predictions of a finished evaluation, read from their file one at a time: memory does not grow with the answers."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import overload

import msgspec

from flywheel.results import Prediction

_DECODER = msgspec.json.Decoder(Prediction)


class PredictionFile(Sequence[Prediction]):
    """One prediction a line, in the order of the items.

    Args:
        ids: Of the items, in the order of the lines.
        starts: Where each line begins, in bytes.
    """

    def __init__(self, path: Path, ids: Sequence[str], starts: array[int]) -> None:
        self.path = path
        self._ids = ids
        self._starts = starts

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...

    @overload
    def __getitem__(self, index: slice) -> list[Prediction]: ...

    def __getitem__(self, index: int | slice) -> Prediction | list[Prediction]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        with self.path.open("rb") as file:
            file.seek(self._starts[index])
            return _DECODER.decode(file.readline())

    def __iter__(self) -> Iterator[Prediction]:
        if self._ids:
            with self.path.open("rb") as file:
                yield from map(_DECODER.decode, file)

    def by_id(self) -> Mapping[str, Prediction]:
        """The same by item id; what goes through the items in their order reads the file once, from front to back."""
        return _ById(self, dict(zip(self._ids, self._starts, strict=True)))


class _ById(Mapping[str, Prediction]):
    def __init__(self, predictions: PredictionFile, starts: Mapping[str, int]) -> None:
        self._predictions = predictions
        self._starts = starts

    def __getitem__(self, key: str) -> Prediction:
        start = self._starts[key]
        with self._predictions.path.open("rb") as file:
            file.seek(start)
            return _DECODER.decode(file.readline())

    def __contains__(self, key: object) -> bool:
        return key in self._starts

    def __iter__(self) -> Iterator[str]:
        return iter(self._starts)

    def __len__(self) -> int:
        return len(self._starts)
