"""How a table is laid out on a screen: sentences under it where they would squeeze the figures, and a table that is too
wide turned round, one column for each of its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flywheel.cli.terminal import plain

SENTENCES = frozenset({"note", "missing", "why", "what"})
"""Columns whose cells are to be read."""
WIDE_ENOUGH = 40
"""Columns of the screen that a sentence needs to be read in a cell."""
GAP = 2
NUMBERS = frozenset(
    {
        "records",
        "n",
        "unscored",
        "tokens in",
        "tokens out",
        "score",
        "by traffic",
        "latency p50",
        "candidates",
    }
)
"""Columns of short figures: they stand to the right, under a heading of two lines where that is shorter."""
NAMES = 2
"""Columns that say what a row is about, such as candidate and evaluation."""


class Layout(msgspec.Struct, frozen=True):
    """Columns and cells as text, safe for a terminal; `below` are lines to stand under the table."""

    columns: list[str]
    cells: list[list[str]]
    below: list[str] = []


def layout(rows: Sequence[Mapping[str, Any]], width: int) -> Layout:
    """The rows for a screen of `width` columns; a column without any content is left out.

    What still does not fit is folded by whoever prints it.
    """
    shown = [name for name in rows[0] if any(row[name] != "" for row in rows)]
    figures = [name for name in shown if name not in SENTENCES]
    sentences = [name for name in shown if name in SENTENCES]
    whole = _table(rows, shown)
    if not figures or _width(whole) <= width or _width(_table(rows, figures)) + WIDE_ENOUGH <= width:
        return whole
    table = _table(rows, figures)
    if _width(table) > width and len(figures) > NAMES:
        turned = _turned(rows, figures)
        table = turned if _width(turned) <= width else table
    return msgspec.structs.replace(table, below=_below(rows, sentences, figures))


def is_number(heading: str) -> bool:
    """Whether the column of this heading holds short figures."""
    return heading.replace("\n", " ") in NUMBERS


def _table(rows: Sequence[Mapping[str, Any]], columns: list[str]) -> Layout:
    headings = [name.replace(" ", "\n") if name in NUMBERS else name for name in columns]
    return Layout(headings, [[plain(str(row[name])) for name in columns] for row in rows])


def _turned(rows: Sequence[Mapping[str, Any]], figures: list[str]) -> Layout:
    names, others = figures[:NAMES], figures[NAMES:]
    heads = [plain("\n".join(str(row[name]) for name in names)) for row in rows]
    return Layout(["", *heads], [[name, *(plain(str(row[name])) for row in rows)] for name in others])


def _below(rows: Sequence[Mapping[str, Any]], sentences: Sequence[str], figures: Sequence[str]) -> list[str]:
    """Each sentence once, with the rows that it is of."""
    of: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        about = " ".join(str(row[name]) for name in figures[:NAMES])
        for name in sentences:
            if row[name] != "":
                of.setdefault((name, str(row[name])), []).append(about)
    return [plain(f"{', '.join(about)}: {name}: {text}") for (name, text), about in of.items()]


def _width(table: Layout) -> int:
    """Columns of the screen that the table takes when no cell is folded."""
    columns = zip(table.columns, *table.cells, strict=True)
    widths = [max(len(line) for text in column for line in text.split("\n")) for column in columns]
    return sum(widths) + GAP * (len(widths) - 1)
