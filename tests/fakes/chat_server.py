"""A model that answers over the OpenAI chat protocol on a loopback port, and misbehaves as told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from blocks.ports import Endpoint

Reply = Callable[[web.Request], Any]


def completion(
    content: str | None = "hello", calls: list[tuple[str, Any]] | None = None, **more: Any
) -> dict[str, Any]:
    """A chat completion; `calls` are (name, arguments) pairs."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls is not None:
        message["tool_calls"] = [
            {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for i, (name, arguments) in enumerate(calls)
        ]
    return {
        "id": "cmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
        **more,
    }


class ChatServer:
    """Answers each request with what `respond(body, number)` returns, number counting from 0.

    That is a chat completion or any other JSON object (status 200), a `web.Response`, or one of the coroutines
    below. Every request's headers and body are kept.
    """

    def __init__(self, respond: Callable[[dict[str, Any], int], Any] | None = None) -> None:
        self._respond = respond or (lambda body, number: completion())
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.under_way = 0
        self.most_under_way = 0
        self._runner: web.AppRunner | None = None
        self.base_url = ""

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.base_url, "candidate")

    async def __aenter__(self) -> ChatServer:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        port = self._runner.addresses[0][1]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        number = len(self.bodies)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            answer = self._respond(body, number)
            if callable(answer):
                answer = await answer(request)
            if isinstance(answer, web.StreamResponse):
                return answer
            return web.json_response(answer)
        finally:
            self.under_way -= 1


def failure(status: int, message: str = "no", code: str | None = None, **headers: str) -> web.Response:
    """An error in the protocol's own shape."""
    error = {"message": message, "type": "error", "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)


def html(status: int = 502) -> web.Response:
    """What a proxy says when the model behind it is gone."""
    return web.Response(status=status, text="<html><body>Bad gateway</body></html>", content_type="text/html")


async def hang(request: web.Request) -> web.StreamResponse:
    """Never answers."""
    await asyncio.sleep(3600)
    return web.Response()


async def drop(request: web.Request) -> web.StreamResponse:
    """Closes the connection without a word."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def break_off(request: web.Request) -> web.StreamResponse:
    """Promises a long answer and closes the connection within it."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"choices": [')
    assert request.transport is not None
    request.transport.close()
    return response


def together(number: int, answer: Any) -> Reply:
    """The same answer to all, once so many requests have come."""
    come, all_here = 0, asyncio.Event()

    async def respond(request: web.Request) -> Any:
        nonlocal come
        come += 1
        if come >= number:
            all_here.set()
        await all_here.wait()
        return answer

    return respond


def after(seconds: float, answer: Any) -> Reply:
    """The same answer, later."""

    async def respond(request: web.Request) -> Any:
        await asyncio.sleep(seconds)
        return answer

    return respond
