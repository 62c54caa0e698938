"""Where lines go. A sink is called from one background thread at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Line(NamedTuple):
    """One record: its id, and itself as a JSON object in UTF-8 on one line, without the line end."""

    id: str
    data: bytes


@dataclass(frozen=True)
class Outcome:
    """What became of a batch. Lines that are neither refused nor to be tried again were written.

    Attributes:
        refused: Lines that the sink will never take.
        again: Lines to hand in once more, after a pause.
        reason: Why, in a few words, for the warning.
    """

    refused: int = 0
    again: Sequence[Line] = ()
    reason: str = ""


class Sink(Protocol):
    """What writes lines. An exception means that the whole batch may be handed in again."""

    def write(self, lines: Sequence[Line]) -> Outcome:
        """Write a batch; it may hold lines that were written before, with the same ids."""

    def close(self) -> None:
        """Let go of files and connections; `write` may still follow."""
