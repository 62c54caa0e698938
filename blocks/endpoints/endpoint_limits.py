"""How much one endpoint is asked: at once, a minute, and not at all while it is down.

Several evaluations may ask one endpoint at the same time, and it counts them together; so must we. Within
`sharing_limits()` all clients of one address share one `EndpointLimits`; without it each client has its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from flywheel.errors import TransientRemoteError

FAILURES_TO_OPEN = 10
"""Failures in a row, whosever they are, from which an endpoint counts as down."""

FIRST_PROBE = 0.5
LONGEST_PROBE = 10.0
"""Seconds until one request is let through to an endpoint that is down; doubled each time, up to the longest."""


class Bounds(NamedTuple):
    """What one endpoint allows. None is no bound; `patience` are seconds for which one that is down is waited for.

    A `relentless` client asks on whatever it is told, as the users do whom a load test stands for: nothing counts as
    down, and no pause that the endpoint asks for is made.
    """

    at_once: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    patience: float = 60.0
    relentless: bool = False


class EndpointLimits:
    """The state of one endpoint, for all who ask it in one event loop."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.slots = asyncio.Semaphore(bounds.at_once)
        self.circuit = Circuit(bounds.patience, never_opens=bounds.relentless)
        self._requests = Pace(bounds.requests_per_minute) if bounds.requests_per_minute else None
        self._tokens = Pace(bounds.tokens_per_minute) if bounds.tokens_per_minute else None
        self._not_before = 0.0

    async def turn(self, tokens: int, url: str) -> None:
        """Wait until a request of about so many tokens may go.

        Raises: TransientRemoteError where the endpoint has been down for longer than our patience.
        """
        if self.circuit.is_open:
            await self.circuit.turn(url)
        while (wait := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        if self._requests is not None:
            await asyncio.sleep(self._requests.reserve(1))
        if self._tokens is not None:
            await asyncio.sleep(self._tokens.reserve(tokens))

    def settle(self, estimated: int, used: int | None) -> None:
        """What a request really cost, in tokens; None where that is not known."""
        if self._tokens is not None and used is not None:
            self._tokens.correct(used - estimated)

    def hold(self, seconds: float) -> None:
        """The endpoint has asked everybody for a pause."""
        if not self.bounds.relentless:
            self._not_before = max(self._not_before, time.monotonic() + seconds)


class Pace:
    """So many units a minute, spread evenly, with bursts of up to one second's worth.

    Source: the generic cell rate algorithm (ITU-T I.371), which keeps one time instead of a bucket.
    """

    def __init__(self, per_minute: float, burst_seconds: float = 1.0) -> None:
        self._seconds_each = 60.0 / per_minute
        self._burst = burst_seconds
        self._due = 0.0

    def reserve(self, units: float, now: float | None = None) -> float:
        """Take the next `units` and return the seconds to wait before using them."""
        now = time.monotonic() if now is None else now
        self._due = max(self._due, now)
        wait = self._due - self._burst - now
        self._due += units * self._seconds_each
        return max(0.0, wait)

    def correct(self, units: float) -> None:
        """Take `units` more, or give them back where negative."""
        self._due += units * self._seconds_each


class Circuit:
    """Open while an endpoint is down: one request at a time finds out whether it is back, the others wait for that."""

    def __init__(self, patience: float, *, never_opens: bool = False) -> None:
        self._patience = patience
        self._never_opens = never_opens
        self._failures = 0
        self._opened: float | None = None
        self._probe: asyncio.Task[object] | None = None
        self._next_probe = 0.0
        self._pause = FIRST_PROBE
        self._last = ""
        self._changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    async def turn(self, url: str) -> None:
        """Return when the circuit is closed, or when this request is the one to try.

        Raises: TransientRemoteError after `patience` seconds.
        """
        while self._opened is not None:
            now = time.monotonic()
            if self._probe is None and now >= self._next_probe:
                self._probe = asyncio.current_task()
                return
            over = self._opened + self._patience - now
            if self._probe is None and over <= 0:
                raise TransientRemoteError(
                    f"{url} has been down for {now - self._opened:.0f} s and is not asked any more; "
                    f"the last answer: {self._last}"
                )
            until = None if self._probe is not None else min(self._next_probe - now, over)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), until)

    def success(self) -> None:
        """An answer came, of whatever kind: somebody is there."""
        self._failures = 0
        if self._opened is not None:
            self._opened = self._probe = None
            self._pause = FIRST_PROBE
            self._tell()

    def failure(self, why: str) -> None:
        """Nobody answered, or only to say that nothing works."""
        self._failures += 1
        self._last = why
        if self._opened is None:
            if self._failures >= FAILURES_TO_OPEN and not self._never_opens:
                self._opened = time.monotonic()
                self._next_probe = self._opened + self._pause
                self._tell()
        elif self._probe is asyncio.current_task():
            self._pause = min(LONGEST_PROBE, 2 * self._pause)
            self._next_probe = time.monotonic() + self._pause
            self.abandoned()

    def abandoned(self) -> None:
        """The request that tried was cancelled, or is done trying: another may."""
        if self._probe is not None and self._probe is asyncio.current_task():
            self._probe = None
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


Registry = dict[tuple[asyncio.AbstractEventLoop, str], EndpointLimits]
_shared: ContextVar[Registry | None] = ContextVar("endpoint_limits", default=None)


@contextmanager
def sharing_limits() -> Iterator[None]:
    """Within this context, tasks started in it included, all clients of one address share its limits."""
    token = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(token)


def limits_of(address: str, bounds: Bounds) -> EndpointLimits:
    """The limits of an address: the shared ones where they are shared, with the bounds of who asked first.

    They belong to the running event loop, as what they wait on does.
    """
    registry = _shared.get()
    if registry is None:
        return EndpointLimits(bounds)
    return registry.setdefault((asyncio.get_running_loop(), address), EndpointLimits(bounds))
