"""Evaluation items read from their file one at a time: memory does not grow with what they ask."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import overload

from flywheel.results import EvalItem


class ItemFile(Sequence[EvalItem]):
    """The rows of a checked `eval_data.jsonl`; nothing may write to the file meanwhile.

    Args:
        ids: Of the items, in the order of the file.
        starts: Where each row's line begins, in bytes.
        decode: Makes an item of a line.
    """

    def __init__(
        self, path: Path, ids: list[str], starts: array[int], decode: Callable[[bytes], EvalItem]
    ) -> None:
        self.ids = ids
        self._path = path
        self._starts = starts
        self._decode = decode

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> EvalItem: ...

    @overload
    def __getitem__(self, index: slice) -> list[EvalItem]: ...

    def __getitem__(self, index: int | slice) -> EvalItem | list[EvalItem]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        with self._path.open("rb") as file:
            file.seek(self._starts[index])
            return self._decode(file.readline())

    def __iter__(self) -> Iterator[EvalItem]:
        with self._path.open("rb") as file:
            for start in self._starts:
                file.seek(start)
                yield self._decode(file.readline())


def ids_of(items: Sequence[EvalItem]) -> list[str]:
    """The ids of the items, in their order."""
    return items.ids if isinstance(items, ItemFile) else [item.id for item in items]
