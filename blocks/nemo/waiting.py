"""Waiting for work that happens elsewhere: bounded by the time without news, and safe to cancel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, TypeVar

from flywheel.errors import TransientRemoteError

T = TypeVar("T")


class Patience:
    """Measures how long the same thing has been seen."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: Hashable = None
        self._since = clock()

    def is_spent(self, seen: Hashable, seconds: float) -> bool:
        """Whether `seen` has not changed for more than `seconds`; a change starts the time again."""
        if seen != self._seen:
            self._seen, self._since = seen, self._clock()
        return self.seconds > seconds

    @property
    def seconds(self) -> float:
        """Time since the last change."""
        return self._clock() - self._since


async def looked_at(look: Callable[[], Awaitable[T]]) -> T | None:
    """What `look` finds, or None where this one look failed in a way that may pass: no news, not bad news."""
    try:
        return await look()
    except TransientRemoteError:
        return None


async def until_gone(look: Callable[[], Awaitable[bool]], seconds: float, pause: float) -> bool:
    """Whether `look` reported within `seconds` that the thing is gone."""
    deadline = time.monotonic() + seconds
    while True:
        if await looked_at(look):
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(pause)


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """See `work` to its end even if this task is cancelled meanwhile; the cancellation goes on afterwards."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()  # looked at, so that asyncio does not report it as lost
        raise
