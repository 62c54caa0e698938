"""httpx clients for the `http_client` of the OpenAI SDK that log each chat completion made through them.

They send as an httpx client does (proxies of the environment, mounts, certificates and all), and begin with the
limits and the redirects that the SDK sets for its own client. The time-outs are left to the SDK.
"""

from __future__ import annotations

from typing import Any

import httpx

from flywheel_exporter.exporter import Exporter
from flywheel_exporter.sinks import Sink
from flywheel_exporter.transports import aobserved, observed

_LIMITS = httpx.Limits(max_connections=1_000, max_keepalive_connections=100)


class LoggedClient(httpx.Client):
    """An `httpx.Client` that logs.

    Args:
        to: A sink such as `JsonlFile` or `Elasticsearch`; or an `Exporter`, to set more or to share one.
        workload_id, client_id, conversation_id, description: Labels of every call, where `labels(...)` sets no other.
            With an `Exporter` they belong into that.
        options: Whatever `httpx.Client` takes.
    """

    def __init__(
        self,
        to: Exporter | Sink,
        *,
        workload_id: str | None = None,
        client_id: str | None = None,
        conversation_id: str | None = None,
        description: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**_like_the_sdk(options))
        self.exporter = _exporter(to, workload_id, client_id, conversation_id, description)
        self._own_exporter = self.exporter is not to

    def close(self) -> None:
        """Close the client. An exporter made for it writes what is waiting in the background, and ends."""
        super().close()
        self._let_go()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._let_go()

    def _let_go(self) -> None:
        if self._own_exporter:
            self.exporter.close(timeout=0)

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """Send a request; a chat completion is logged when its answer has been read or given up."""
        response: httpx.Response = observed(
            self.exporter, request, lambda: super(LoggedClient, self).send(request, stream=True, **options)
        )
        if not stream:
            try:
                response.read()
            except BaseException:
                response.close()
                raise
        return response


class AsyncLoggedClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` that logs; see `LoggedClient`."""

    def __init__(
        self,
        to: Exporter | Sink,
        *,
        workload_id: str | None = None,
        client_id: str | None = None,
        conversation_id: str | None = None,
        description: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**_like_the_sdk(options))
        self.exporter = _exporter(to, workload_id, client_id, conversation_id, description)
        self._own_exporter = self.exporter is not to

    async def aclose(self) -> None:
        """Close the client. An exporter made for it writes what is waiting in the background, and ends."""
        await super().aclose()
        self._let_go()

    async def __aexit__(self, *error: Any) -> None:
        await super().__aexit__(*error)
        self._let_go()

    def _let_go(self) -> None:
        if self._own_exporter:
            self.exporter.close(timeout=0)

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """Send a request; a chat completion is logged when its answer has been read or given up."""
        response: httpx.Response = await aobserved(
            self.exporter,
            request,
            lambda: super(AsyncLoggedClient, self).send(request, stream=True, **options),
        )
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response


def _like_the_sdk(options: dict[str, Any]) -> dict[str, Any]:
    return {"limits": _LIMITS, "follow_redirects": True, **options}


def _exporter(
    to: Exporter | Sink,
    workload_id: str | None,
    client_id: str | None,
    conversation_id: str | None,
    description: str | None,
) -> Exporter:
    if not isinstance(to, Exporter):
        return Exporter(
            to,
            workload_id=workload_id,
            client_id=client_id,
            conversation_id=conversation_id,
            description=description,
        )
    if any((workload_id, client_id, conversation_id, description)):
        raise ValueError("Give the labels to the Exporter, or with labels(...); not to its client as well.")
    return to
