"""When a window is open: arithmetic of local clocks, in a world with summer time.

A window is written in local time and computed in UTC. A time that the clocks skip counts as the moment of the change,
one that they show twice as the first of the two, so a window is one piece of time on every day, or none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from flywheel.config.schedule import DAYS, WindowConfig

DAYS_BEFORE, DAYS_AFTER = 9, 16
"""Days around a moment that hold the piece it lies in and the next one, whatever days of the week are chosen."""


class Opening(msgspec.Struct, frozen=True):
    """One piece of time in which a window is open, [begins, ends), in UTC."""

    begins: datetime
    ends: datetime


def never_closes(window: WindowConfig) -> bool:
    """Whether nothing is set, or all of every day."""
    return not window.hours or (window.hours == "00:00-24:00" and set(window.days) == set(DAYS))


def open_at(window: WindowConfig, moment: datetime) -> Opening | None:
    """The opening that `moment` lies in, None where the window is closed."""
    if never_closes(window):
        return Opening(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    return next((o for o in openings(window, moment) if o.begins <= moment < o.ends), None)


def next_opening(window: WindowConfig, moment: datetime) -> Opening:
    """The first opening that begins after `moment`; only for a window that closes.

    Raises: ValueError where nothing opens within two weeks: the clocks skip the window's only hours.
    """
    for opening in openings(window, moment):
        if opening.begins > moment:
            return opening
    raise ValueError(f"the window {window.hours} of {window.timezone} does not open within two weeks")


def openings(window: WindowConfig, around: datetime) -> Iterator[Opening]:
    """Openings near a moment, in order; those that touch are one."""
    zone = ZoneInfo(window.timezone)
    today = around.astimezone(zone).date()
    current: Opening | None = None
    for offset in range(-DAYS_BEFORE, DAYS_AFTER + 1):
        opening = _opening_on(window, zone, today + timedelta(days=offset))
        if opening is None:
            continue
        if current is not None and opening.begins <= current.ends:
            current = Opening(current.begins, max(current.ends, opening.ends))
            continue
        if current is not None:
            yield current
        current = opening
    if current is not None:
        yield current


def _opening_on(window: WindowConfig, zone: ZoneInfo, day: date) -> Opening | None:
    if DAYS[day.weekday()] not in window.days:
        return None
    begin, _, end = window.hours.partition("-")
    over_midnight = end == "24:00" or end < begin
    begins = _instant(zone, day, begin)
    ends = _instant(zone, day + timedelta(days=over_midnight), "00:00" if end == "24:00" else end)
    return Opening(begins, ends) if begins < ends else None


def _instant(zone: ZoneInfo, day: date, clock: str) -> datetime:
    """When the local clock first shows that time, in UTC; the moment of the change if it skips it."""
    local = datetime.combine(day, time.fromisoformat(clock), tzinfo=zone)
    instant = local.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return instant
    # Skipped. Read with the offset of after the change the time lies before it, with that of before it lies after.
    low, high = int(local.replace(fold=1).timestamp()), int(instant.timestamp())
    offset_before = datetime.fromtimestamp(low, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset_before:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)
