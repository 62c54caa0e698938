"""All observations of a span of time, though the API hands out numbered pages of a log that others write to.

A page is a place in a list that moves when something is put in or taken out before it. So time is cut into windows of a
few pages, and a window is looked at again until its list stood still meanwhile: as many different observations came as
it says to hold, first and last; or until another look brings nothing new. The end is fixed before the first page.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from blocks.langfuse.api import LangfuseApi, TooMuchAtOnce
from flywheel.errors import DataError, EndpointRefused
from flywheel.records.timestamps import to_seconds

MOST_PAGES = 10
"""Of a window; with the size of a page it bounds what is held in memory."""
_FILLED = 0.6  # of a window, on average, when a busy one is cut: traffic is uneven
_MOST_PARTS = 64
_LOOKS = 5
_LEAST = timedelta(milliseconds=1)  # times are that exact


class Window(NamedTuple):
    """From `since` on, before `until`; None is the beginning of time."""

    since: datetime | None
    until: datetime


class Windows:
    """Reads the generations of a project.

    Answers that are too large for the server shrink the pages, from then on.
    """

    def __init__(self, api: LangfuseApi) -> None:
        self._api = api
        self._size = api.settings.page_size

    def count(self, until: datetime) -> int:
        """How many generations there are before a time."""
        return _total(self._page(Window(None, until), 1, 1))

    def read(self, whole: Window) -> Iterator[tuple[Window, list[dict[str, Any]]]]:
        """Yield windows that make up the whole, oldest first, each with its observations by time and id."""
        left = [whole]
        while left:
            window = left.pop()
            found = self._observations(window)
            if isinstance(found, list):
                yield window, sorted(found, key=_place)
            else:
                left += reversed(found.parts)

    def _observations(self, window: Window) -> list[dict[str, Any]] | _Cut:
        while True:
            try:
                return self._by_pages(window)
            except TooMuchAtOnce:
                if self._size == 1:
                    raise
                self._size = max(1, self._size // 4)

    def _by_pages(self, window: Window) -> list[dict[str, Any]] | _Cut:
        seen: dict[str, dict[str, Any]] = {}
        for _ in range(_LOOKS):
            first = self._page(window, 1, self._size)
            total = _total(first)
            pages = -(-total // self._size)
            if pages > MOST_PAGES and (cut := self._cut(window, first, pages, total)):
                return cut
            rows, last = list(first["data"]), first
            for number in range(2, pages + 1):
                last = self._page(window, number, self._size)
                rows += last["data"]
            look = {row["id"]: row for row in rows}
            still = total == _total(last) == len(rows) == len(look)
            nothing_new = look.keys() <= seen.keys()
            seen |= look  # the later look is the newer state
            if still or nothing_new:
                break
        return list(seen.values())

    def _page(self, window: Window, number: int, size: int) -> dict[str, Any]:
        page = self._api.get(
            "/observations",
            type="GENERATION",
            page=number,
            limit=size,
            fromStartTime=_written(window.since),
            toStartTime=_written(window.until),
        )
        rows = None if page is None else page.get("data")
        if not isinstance(rows, list) or not all(
            isinstance(r, dict) and isinstance(r.get("id"), str) for r in rows
        ):
            raise EndpointRefused(
                f"What answers at {self._api.settings.host} has no observations of Langfuse; check the address."
            )
        assert page is not None
        return page

    def _cut(self, window: Window, first: dict[str, Any], pages: int, total: int) -> _Cut | None:
        """Parts of a window that holds too much, by the times on its first and last page; None for one moment."""
        last = self._page(window, pages, self._size)
        times = [time for page in (first, last) for row in page["data"] if (time := _begin(row)) is not None]
        if not times:
            return None
        begin, end = min(times), max(times) + _LEAST
        number = min(_MOST_PARTS, max(2, round(total / (MOST_PAGES * self._size * _FILLED))))
        step = max(_LEAST, _whole((end - begin) / number))
        edges = [begin + step * i for i in range(number) if begin + step * i < end] + [end]
        inside = [
            edge for edge in edges if (window.since is None or edge > window.since) and edge < window.until
        ]
        if not inside:
            return None
        bounds = [window.since, *inside, window.until]
        return _Cut([Window(a, b) for a, b in pairwise(bounds) if b is not None])


class _Cut(NamedTuple):
    parts: list[Window]


def _total(page: dict[str, Any]) -> int:
    meta = page.get("meta")
    total = meta.get("totalItems") if isinstance(meta, dict) else None
    return total if isinstance(total, int) else len(page["data"])


def _place(row: dict[str, Any]) -> tuple[float, str]:
    begin = _begin(row)
    return (0.0 if begin is None else begin.timestamp(), row["id"])


def _begin(row: Any) -> datetime | None:
    try:
        seconds = to_seconds(row.get("startTime")) if isinstance(row, dict) else None
    except DataError:
        return None
    return None if seconds is None else _floor(datetime.fromtimestamp(seconds, UTC))


def _floor(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)


def _whole(length: timedelta) -> timedelta:
    return timedelta(milliseconds=length // _LEAST)


def _written(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
