"""Tables of a size that the Prefect UI opens and its events carry."""

from __future__ import annotations

import json
from collections.abc import Sequence

from flywheel.report.escaping import table_text
from flywheel.report.tables import Row

MOST_ROWS = 300
MOST_BYTES = 500_000
"""Of a table's JSON. Prefect refuses the event of an artifact above 1.5 MB, and its table takes seconds before that."""


def bounded(
    rows: Sequence[Row], whole: str, *, empty: str, most_rows: int = MOST_ROWS, most_bytes: int = MOST_BYTES
) -> list[Row]:
    """As many rows as fit, their texts safe in both UIs of Prefect, and one that says where the others are.

    Args:
        rows: All of them, most important first.
        whole: Where all of them are, for example a command.
        empty: What the only row says where there is nothing.
    """
    if not rows:
        return [{"note": empty}]
    kept: list[Row] = []
    size = 0
    for raw in rows[:most_rows]:
        row = {name: table_text(value) if isinstance(value, str) else value for name, value in raw.items()}
        size += len(json.dumps(row, ensure_ascii=True))
        if size > most_bytes:
            break
        kept.append(row)
    if len(kept) < len(rows):
        first = next(iter(rows[0]))
        pointer = dict.fromkeys(rows[0], "")
        kept.append(pointer | {first: f"{len(rows) - len(kept)} more: {whole}"})
    return kept
