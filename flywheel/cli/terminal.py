"""What reaches a terminal: escaped text, one console for people on stderr, JSON for programs on stdout."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from flywheel.progress import Progress

WIDTH_OF_A_FILE = 120
"""Columns where nobody says how wide it is: output that goes to a file or a pipe."""


def plain(text: str) -> str:
    """`text` with control characters shown, so that nothing from a log can steer the terminal.

    Line feeds and tabs stay; every other C0/C1 control character, every bidirectional override and every half of a
    surrogate pair becomes its escape sequence in letters.
    """
    return "".join(
        char if char in "\n\t" or not _is_control(char) else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def _is_control(char: str) -> bool:
    code = ord(char)
    bidirectional = 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
    return code < 0x20 or 0x7F <= code < 0xA0 or bidirectional or 0xD800 <= code < 0xE000


def emit_json(document: Any) -> None:
    """Print one JSON document on stdout. The open end of an interval is null; not-a-number has no place in it."""
    text = json.dumps(_with_open_ends(document), ensure_ascii=False, indent=2, allow_nan=False)
    # Half a surrogate pair, which a log may hold, has no UTF-8; written out it is JSON all the same.
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
    sys.stdout.flush()


def _with_open_ends(value: Any) -> Any:
    """Infinities, for which JSON has no word, as None."""
    if isinstance(value, dict):
        return {key: _with_open_ends(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_open_ends(item) for item in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def console(to_stderr: bool = False) -> Console:
    """A rich console without markup or emoji codes, so that text is shown as it is."""
    from rich.console import Console

    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() else WIDTH_OF_A_FILE
    return Console(stderr=to_stderr, markup=False, emoji=False, highlight=False, width=width)


@contextmanager
def progress_bars(enabled: bool = True) -> Iterator[Progress]:
    """Progress bars on stderr, one a stage; lines of text where stderr is no terminal; silence when not enabled."""
    from flywheel.progress import silent

    if not enabled:
        yield silent
        return
    if not sys.stderr.isatty():
        yield _LineProgress()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        console=console(to_stderr=True),
    )
    task_ids: dict[str, Any] = {}

    def update(stage: str, done: int, total: int | None, detail: str = "") -> None:
        if stage not in task_ids:
            task_ids[stage] = bars.add_task(plain(stage), total=total, detail="")
        bars.update(task_ids[stage], completed=done, total=total, detail=plain(detail))

    with bars:
        yield update


class _LineProgress:
    """Prints a stage when it starts, at each quarter, and when it ends: readable in a CI log."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        quarter = 0 if not total else min(4, 4 * done // total)
        if self._last.get(stage, -1) == quarter:
            return
        self._last[stage] = quarter
        of = "" if total is None else f"/{total}"
        print(plain(f"{stage}: {done}{of} {detail}".rstrip()), file=sys.stderr, flush=True)
