"""The time by which windows open and close: the machine's, unless somebody plays a night in a minute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def _of_the_machine() -> datetime:
    return datetime.now(UTC)


_clock: ContextVar[Clock] = ContextVar("clock", default=_of_the_machine)


@contextmanager
def by_clock(clock: Clock) -> Iterator[None]:
    """Everything that this context starts goes by `clock`, which tells a time in UTC."""
    token = _clock.set(clock)
    try:
        yield
    finally:
        _clock.reset(token)


def time_now() -> datetime:
    """What the clock of this context shows, in UTC."""
    return _clock.get()()
