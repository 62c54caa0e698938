"""Streamed chat completions: chunks as providers send them, and a server's answer made of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

Chunk = dict[str, Any]


def chunk(
    delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any
) -> Chunk:
    """One chunk with one choice."""
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return {
        "id": "cmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": [choice],
    } | more


def text_chunks(*pieces: str, usage: bool = True) -> list[Chunk]:
    """A text answer, a chunk for each piece, as OpenAI sends it."""
    chunks = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": piece}) for piece in pieces)]
    chunks.append(chunk(finish="stop"))
    if usage:
        counts = {"prompt_tokens": 11, "completion_tokens": len(pieces), "total_tokens": 11 + len(pieces)}
        chunks.append(chunk(usage=counts) | {"choices": []})
    return chunks


def call_part(
    index: int | None, arguments: str, name: str | None = None, call_id: str | None = None
) -> Chunk:
    """A part of a tool call; without a name it goes on with the one before."""
    part: dict[str, Any] = {"function": {"arguments": arguments}}
    if index is not None:
        part["index"] = index
    if name is not None:
        part["function"]["name"] = name
        part["type"] = "function"
    if call_id is not None:
        part["id"] = call_id
    return chunk({"tool_calls": [part]})


def sse(chunks: Iterable[Chunk], done: bool = True) -> bytes:
    """The body of the stream."""
    lines = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks]
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


def streamed(
    chunks: Iterable[Chunk], *, pause: float = 0.0, then: str = "done", packed: bool = False
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A server's answer: the chunks, `pause` seconds before each.

    Args:
        then: "done" ends well, "drop" breaks the connection, "hang" goes silent, "error" sends an error event.
        packed: With gzip.
    """

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        if packed:
            response.enable_compression(web.ContentCoding.gzip)
        await response.prepare(request)
        for each in chunks:
            await asyncio.sleep(pause)
            await response.write(sse([each], done=False))
        if then == "drop":
            assert request.transport is not None
            request.transport.close()
        elif then == "hang":
            await asyncio.sleep(3600)
        elif then == "error":
            await response.write(
                sse([{"error": {"message": "overloaded", "type": "server_error"}}], done=False)
            )
        else:
            await response.write(b"data: [DONE]\n\n")
        return response

    return respond
