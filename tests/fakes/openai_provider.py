"""A provider that speaks the OpenAI API over a real socket, keeps state, and misbehaves as told.

Files, fine-tuning jobs with events, models, chat (plain and streamed), embeddings, and what vLLM adds: adapters and
tokens. Written from the API's reference; a test holds it against the official client's own types.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import Any

from aiohttp import web

from tests.fakes.openai_api.chat import Chat
from tests.fakes.openai_api.embeddings import Embeddings
from tests.fakes.openai_api.fine_tuning import FineTuning
from tests.fakes.openai_api.state import ProviderState, refusal
from tests.fakes.openai_api.vllm import Vllm


class OpenAIProvider(ProviderState):
    """Runs on a loopback port in a thread of its own.

    Args:
        oracle: Text of the last user message -> the right assistant message, which tuned models mostly know.
        key: Wanted as a bearer token; None wants none.
        tls: Serves https with this context.
    """

    def __init__(
        self,
        oracle: dict[str, dict[str, Any]] | None = None,
        key: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(oracle)
        self.key = key
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> OpenAIProvider:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        left = asyncio.all_tasks(self._loop)  # handlers that hang on purpose
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=64 * 2**20, middlewares=[self._guard])
        for part in (Chat(self), Embeddings(self), FineTuning(self), Vllm(self)):
            part.add_routes(app.router)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls, backlog=512).start()
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return refusal(401, "Incorrect API key provided.", "invalid_api_key")
        if request.content_type == "application/json" and request.can_read_body:
            self.asked.append((request.method, request.path, await request.json()))
        elif not request.can_read_body:
            self.asked.append((request.method, request.path, dict(request.query)))
        response: web.StreamResponse = await handler(request)
        return response
