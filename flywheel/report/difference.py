"""Two texts and where they differ, by words: for a page, a terminal and a table cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rapidfuzz.distance import Indel

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
MOST_WORDS = 3_000
"""Beyond this only the common beginning and end are found: the exact way costs the product of both lengths."""


class Piece(NamedTuple):
    """A stretch of one of the texts; `differs` where the other has something else."""

    text: str
    differs: bool


def difference(reference: str, answer: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces; joined, the pieces of each are the text itself."""
    left, right = _WORDS.findall(reference), _WORDS.findall(answer)
    if len(left) > MOST_WORDS or len(right) > MOST_WORDS:
        return _ends(reference, answer)
    marked_left, marked_right = [False] * len(left), [False] * len(right)
    # A longest common subsequence in bit-parallel time: difflib takes minutes where words repeat, as an answer may.
    for step in Indel.opcodes(left, right):
        if step.tag != "equal":
            marked_left[step.src_start : step.src_end] = [True] * (step.src_end - step.src_start)
            marked_right[step.dest_start : step.dest_end] = [True] * (step.dest_end - step.dest_start)
    return _joined(left, marked_left), _joined(right, marked_right)


def bracketed(pieces: Sequence[Piece], before: str = "⟦", after: str = "⟧") -> str:
    """The text with what differs in brackets, for places that know no other mark."""
    return "".join(f"{before}{piece.text}{after}" if piece.differs else piece.text for piece in pieces)


def _ends(reference: str, answer: str) -> tuple[list[Piece], list[Piece]]:
    most = min(len(reference), len(answer))
    first = next((k for k in range(most) if reference[k] != answer[k]), most)
    last = next((k for k in range(most - first) if reference[-1 - k] != answer[-1 - k]), most - first)
    return tuple(  # type: ignore[return-value]
        [
            piece
            for piece in (
                Piece(text[:first], False),
                Piece(text[first : len(text) - last], True),
                Piece(text[len(text) - last :], False),
            )
            if piece.text
        ]
        for text in (reference, answer)
    )


def _joined(words: Sequence[str], marked: Sequence[bool]) -> list[Piece]:
    """Neighbouring words of one kind become one piece; a lone blank between two marked words is marked with them."""
    pieces: list[Piece] = []
    for number, (word, differs) in enumerate(zip(words, marked, strict=True)):
        between = word.isspace() and 0 < number < len(words) - 1
        flag = differs or (between and marked[number - 1] and marked[number + 1])
        if pieces and pieces[-1].differs == flag:
            pieces[-1] = Piece(pieces[-1].text + word, flag)
        else:
            pieces.append(Piece(word, flag))
    return pieces
