"""SIGTERM stops a flow as Ctrl-C does: all of it, once, and what it does then is seen to its end.

Prefect's handler of that signal raises wherever the interpreter happens to be. While the event loop waits, that ends
all tasks, as it should. In the code of one candidate it is the end of this candidate alone; in a callback of the loop
it is an entry in a log, and the run goes on until its worker kills it. At the next signal it raises again, in the midst
of what the first one made the flow free; a worker sends one each time that somebody asks for a cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prefect.exceptions import TerminationSignal


class _Stop:
    """Told of SIGTERM by the event loop, beside Prefect's handler.

    That one has to stay in place: without it Prefect takes a cancellation for a crash.
    """

    def __init__(self, flow: asyncio.Task[object]) -> None:
        self._flow = flow
        self._asked = False
        self.cancelled_the_flow = False

    def listen(self) -> None:
        with _the_handler_kept():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._ask)

    def over(self) -> None:
        with _the_handler_kept():
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)

    def _ask(self) -> None:
        if self._asked:
            return
        self._asked = True
        signal.signal(signal.SIGTERM, _pass)  # not SIG_IGN, which processes that we start would inherit
        if not self._flow.cancelling():  # the loop has not ended all tasks already
            self.cancelled_the_flow = True
            self._flow.cancel()


_outermost: ContextVar[_Stop | None] = ContextVar("outermost flow", default=None)


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Inside, SIGTERM stops the outermost flow that entered, with all its subflows, and a further one changes nothing.

    Raises: TerminationSignal from the outermost, where the signal met one of its parts.
    """
    flow = asyncio.current_task()
    if flow is None or _outermost.get() is not None:
        yield
        return
    stop = _Stop(flow)
    try:
        stop.listen()
    except (NotImplementedError, RuntimeError, ValueError):  # not in every thread and system
        yield
        return
    token = _outermost.set(stop)
    try:
        yield
    except asyncio.CancelledError:
        if not stop.cancelled_the_flow:
            raise
        flow.uncancel()
        raise TerminationSignal(signal=signal.SIGTERM) from None
    finally:
        _outermost.reset(token)
        stop.over()


@contextmanager
def _the_handler_kept() -> Iterator[None]:
    """The event loop's signals come beside Python's own handler, if that is put back where asyncio replaces it."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    with contextlib.suppress(TypeError):  # one that was not set from Python
        signal.signal(signal.SIGTERM, handler)


def _pass(number: int, frame: object) -> None:
    """It is stopping already."""
