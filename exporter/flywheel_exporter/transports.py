"""httpx transports that log the chat completions passing through them; for an httpx client of one's own.

    httpx.Client(transport=LoggingTransport(httpx.HTTPTransport(), exporter))

A redirect or a retry is a request of its own here. `LoggedClient` is the shorter way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import httpx

from flywheel_exporter.exporter import Exporter
from flywheel_exporter.sinks import Sink
from flywheel_exporter.taps import atapped, tapped


class LoggingTransport(httpx.BaseTransport):
    """Sends through `inner`, and logs to `to`: an `Exporter`, or a sink for which one is made."""

    def __init__(self, inner: Any, to: Exporter | Sink) -> None:
        self._inner = inner
        self.exporter = as_exporter(to)

    def handle_request(self, request: Any) -> Any:
        """Send a request; a chat completion is logged when its answer has been read or given up."""
        return observed(self.exporter, request, lambda: self._inner.handle_request(request))

    def close(self) -> None:
        """Close the inner transport; the exporter goes on, as others may use it."""
        self._inner.close()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._inner.__exit__(kind, error, trace)


class AsyncLoggingTransport(httpx.AsyncBaseTransport):
    """The same for an `httpx.AsyncClient`."""

    def __init__(self, inner: Any, to: Exporter | Sink) -> None:
        self._inner = inner
        self.exporter = as_exporter(to)

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request; a chat completion is logged when its answer has been read or given up."""
        return await aobserved(self.exporter, request, lambda: self._inner.handle_async_request(request))

    async def aclose(self) -> None:
        """Close the inner transport; the exporter goes on, as others may use it."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)


def as_exporter(to: Exporter | Sink) -> Exporter:
    """The exporter that is given, or a new one for the sink that is given."""
    return to if isinstance(to, Exporter) else Exporter(to)


def observed(exporter: Exporter, request: Any, send: Callable[[], Any]) -> Any:
    """What `send` returns, its stream tapped if `request` is to be logged."""
    call = exporter.begin(request)
    if call is None:
        return send()
    try:
        response = send()
    except BaseException as error:
        call.finish(error)
        raise
    with exporter.unharmed():
        call.answered(response)
        response.stream = tapped(response.stream, call)
    return response


async def aobserved(exporter: Exporter, request: Any, send: Callable[[], Awaitable[Any]]) -> Any:
    """The same where `send` has to be awaited."""
    call = exporter.begin(request)
    if call is None:
        return await send()
    try:
        response = await send()
    except BaseException as error:
        call.finish(error)
        raise
    with exporter.unharmed():
        call.answered(response)
        response.stream = atapped(response.stream, call)
    return response
