"""NeMo Microservices that work, on three loopback ports of a thread of their own, and misbehave as told.

State is kept as the API's documentation says, oddities included. Time is the platform's own: it goes on by a second
with each request, so that nothing depends on how fast the machine is. Everything that went over the wire is kept.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import Any

from aiohttp import web

from tests.fakes.nemo.customizer import Customizer
from tests.fakes.nemo.deployments import Deployments
from tests.fakes.nemo.entities import Entities
from tests.fakes.nemo.evaluator import Evaluator
from tests.fakes.nemo.exchanges import Exchange, Fault
from tests.fakes.nemo.hub import Hub
from tests.fakes.nemo.nim import Nim
from tests.fakes.nemo.state import Clock, Misbehaviour, detail

SERVICES = ("nemo", "nim", "datastore")


class NemoServer:
    """Use it as a context manager; `forget()` makes it new.

    Args:
        oracle: Right answers by the text of the last user message.
        key: Bearer token that all three services ask for; None takes any and none.
        tls: Serve over https with this certificate.
    """

    def __init__(
        self,
        oracle: dict[str, dict[str, Any]] | None = None,
        key: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._oracle = oracle or {}
        self._key = key
        self._tls = tls
        self.urls: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.forget()

    def forget(self) -> None:
        """Back to the state of a fresh platform."""
        self.clock = Clock()
        self.events: list[tuple[str, str]] = []
        self.exchanges: list[Exchange] = []
        self.faults: list[Fault] = []
        self.hub = Hub(self.clock)
        self.hub.url = self.urls.get("datastore", "")
        self.entities = Entities(self.clock, self.hub)
        self.deployments = Deployments(self.clock, self.events)
        self.customizer = Customizer(self.clock, self.entities, self.events)
        self.nim = Nim(self._oracle, self.deployments, self.customizer)
        self.evaluator = Evaluator(self.clock, self.entities, self.nim, self.events)
        self.misbehave = Misbehaviour()
        self._routers = {service: web.UrlDispatcher() for service in SERVICES}
        for part in (self.entities, self.deployments, self.customizer, self.evaluator):
            part.add_routes(self._routers["nemo"])
        self.nim.add_routes(self._routers["nim"])
        self.hub.add_routes(self._routers["datastore"])

    @property
    def misbehave(self) -> Misbehaviour:
        """What goes wrong; the same for all parts."""
        return self._misbehave

    @misbehave.setter
    def misbehave(self, value: Misbehaviour) -> None:
        self._misbehave = value
        self.deployments.misbehave = self.customizer.misbehave = self.evaluator.misbehave = value

    def happened(self, kind: str) -> list[str]:
        """Names of what a kind of event happened to, in order."""
        return [name for what, name in self.events if what == kind]

    def __enter__(self) -> NemoServer:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        runners = []
        for service in SERVICES:
            app = web.Application(client_max_size=256 * 2**20)
            app.router.add_route("*", "/{path:.*}", self._entry(service))
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls).start()
            self.urls[service] = f"http{'s' if self._tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
            runners.append(runner)
        self.hub.url = self.urls["datastore"]
        self._ready.set()
        await self._stop.wait()
        for runner in runners:
            await runner.cleanup()

    def _entry(self, service: str) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.clock.seconds += 1
            body = await request.read()
            fault = next((f for f in self.faults if f.takes(request.method, request.path)), None)
            if fault is not None and fault.kind == "hang":
                await self._stop.wait()
                return web.Response(status=503)
            if fault is not None and fault.kind == "slow":
                await asyncio.sleep(fault.seconds)
            if fault is not None and fault.kind == "instead":
                response: web.StreamResponse = _said(fault)
            else:
                response = await self._answer(service, request)
                if fault is not None and fault.kind == "after":
                    response = _said(fault)
            self._keep(service, request, body, response, fault is not None)
            if fault is not None and fault.kind == "lose":
                assert request.transport is not None
                request.transport.close()
            return response

        return handle

    async def _answer(self, service: str, request: web.Request) -> web.StreamResponse:
        shown = request.headers.get("Authorization")
        if self._key is not None and not request.path.startswith("/lfs/") and shown != f"Bearer {self._key}":
            return detail(401, "invalid token")
        router = self._routers[service]
        match = await router.resolve(request)
        if match.http_exception is not None:
            return detail(match.http_exception.status, "Not Found")
        request.match_info.update(match)
        handler: Any = match.handler
        response: web.StreamResponse = await handler(request)
        return response

    def _keep(
        self, service: str, request: web.Request, body: bytes, response: web.StreamResponse, broken: bool
    ) -> None:
        reply = response.body if isinstance(response, web.Response) else b""
        self.exchanges.append(
            Exchange(
                service,
                request.method,
                request.path,
                dict(request.query),
                dict(request.headers),
                body,
                response.status,
                reply if isinstance(reply, bytes) else b"",
                broken,
            )
        )


def _said(fault: Fault) -> web.Response:
    return web.Response(status=fault.status, text=fault.body, content_type=fault.content_type)
