"""SIGTERM stops a flow as Ctrl-C does: all of it, once, and what it does then is seen to its end.

Prefect's handler of that signal raises wherever the interpreter happens to be. In the event loop it ends all tasks, as
it should; in the code of one candidate it is the end of this candidate alone. And it raises again at the next signal,
which ends the loop in the middle of freeing what the first one stopped: a worker sends one each time that somebody asks
for a cancellation. The handler has to stay until then, since Prefect takes a cancellation for a crash without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from prefect.exceptions import TerminationSignal


class _Stop:
    """What the outermost flow of a process knows of its end."""

    def __init__(self, flow: asyncio.Task[object]) -> None:
        self._flow = flow
        self._ends_by_itself = False
        self._watch = asyncio.create_task(self._until_all_tasks_are_cancelled())
        self.is_for_all = False

    async def _until_all_tasks_are_cancelled(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if not self._ends_by_itself:
                ignore_sigterm()

    def for_all(self) -> None:
        """The signal was raised in a part of the flow: the rest is to stop as well."""
        if not self.is_for_all:
            self.is_for_all = True
            ignore_sigterm()
            self._flow.cancel()

    async def over(self) -> None:
        """The flow has ended, for whatever reason."""
        self._ends_by_itself = True
        self._watch.cancel()
        await asyncio.wait({self._watch})


_outermost: ContextVar[_Stop | None] = ContextVar("outermost flow", default=None)


@asynccontextmanager
async def stopped_by_sigterm() -> AsyncIterator[None]:
    """Inside, SIGTERM stops the outermost flow that entered, with all its subflows, and a further one changes nothing.

    Raises: TerminationSignal from the outermost, where the signal met one of its parts.
    """
    outermost = _outermost.get()
    if outermost is not None:
        try:
            yield
        except TerminationSignal:
            outermost.for_all()
            raise
        return
    flow = asyncio.current_task()
    assert flow is not None
    stop = _Stop(flow)
    token = _outermost.set(stop)
    try:
        yield
    except asyncio.CancelledError:
        if not stop.is_for_all:
            raise
        flow.uncancel()
        raise TerminationSignal(signal=signal.SIGTERM) from None
    finally:
        _outermost.reset(token)
        await stop.over()


def notice_stop() -> None:
    """For where something begins to be freed: if SIGTERM is why, all of the flow stops, and is not told again."""
    outermost = _outermost.get()
    if outermost is not None and isinstance(sys.exc_info()[1], TerminationSignal):
        outermost.for_all()


def ignore_sigterm() -> None:
    """From now on, until Prefect puts back what was there before its flow."""
    with contextlib.suppress(ValueError):  # only the main thread has signals
        signal.signal(signal.SIGTERM, _pass)  # not SIG_IGN, which processes that we start would inherit


def _pass(number: int, frame: object) -> None:
    """It is stopping already."""
