"""Models and chat: answers plain and streamed, right as often as the kind of model is, or wrong as told."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from typing import Any

from aiohttp import web

from tests.fakes.openai_api.state import ProviderState, refusal

QUALITY = {"base": 0.2, "icl": 0.5, "tuned": 0.95}


class Chat:
    def __init__(self, state: ProviderState) -> None:
        self.state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/v1/models", self._list_models)
        router.add_post("/v1/chat/completions", self._chat)

    async def _list_models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": list(self.state.models.values())})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.state.chats_under_way += 1
        self.state.most_chats = max(self.state.most_chats, self.state.chats_under_way)
        try:
            await asyncio.sleep(self.state.faults.answer_seconds)
            return await self._answer(request)
        finally:
            self.state.chats_under_way -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        model = body["model"]
        known = self.state.models.get(model)
        too_fresh = (
            known is not None and known["owned_by"] == "tuned" and self.state.faults.unknown_to_chat > 0
        )
        if too_fresh:
            self.state.faults.unknown_to_chat -= 1
        if known is None or too_fresh:
            return refusal(404, f"The model `{model}` does not exist", "model_not_found")
        users = [m for m in body["messages"] if m["role"] == "user"]
        question = text_of(users[-1]["content"]) if users else ""
        fault = self.state.faults.chat.get(question) or self.state.faults.chat.get("*")
        if fault and question != "Hello":
            return await _CHAT_FAULTS[fault](request, model)
        kind = (
            "tuned"
            if self.state.models[model]["owned_by"] == "tuned"
            else "icl"
            if len(users) > 1
            else "base"
        )
        luck = int(hashlib.sha256(f"{kind} {question}".encode()).hexdigest()[:8], 16) / 2**32
        right = self.state.oracle.get(question)
        knows = bool(right) and luck < QUALITY[kind]
        answer = right if right and knows else {"role": "assistant", "content": "I am not sure."}
        # Whether it knows is all that this model draws; what it says then follows.
        chance = 1.0 if not right else QUALITY[kind] if knows else 1.0 - QUALITY[kind]
        told = logprobs_of(answer, chance) if body.get("logprobs") else None
        if body.get("stream"):
            return await _streamed(request, model, answer, told)
        return web.json_response(completion_of(model, answer, told))


def logprobs_of(message: dict[str, Any], chance: float) -> dict[str, Any] | None:
    """The words of an answer that is given with this chance, the first of which decides; none of calls."""
    words = (message.get("content") or "").split(" ")
    if message.get("tool_calls"):
        return None
    values = [math.log(chance), *[0.0] * (len(words) - 1)]
    content = [
        {"token": word, "logprob": value, "bytes": list(word.encode()), "top_logprobs": []}
        for word, value in zip(words, values, strict=True)
    ]
    return {"content": content, "refusal": None}


def completion_of(
    model: str, message: dict[str, Any], logprobs: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A chat completion in the API's shape."""
    count = max(1, len(json.dumps(message)) // 4)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"refusal": None, **message},
                "logprobs": logprobs,
                "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": count, "total_tokens": 100 + count},
    }


def text_of(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content or "")


async def _hang(request: web.Request, model: str) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def _malformed(request: web.Request, model: str) -> web.StreamResponse:
    return web.Response(body=b'{"choices": [{"message": {"content": "half', content_type="application/json")


async def _overflow(request: web.Request, model: str) -> web.StreamResponse:
    message = "This model's maximum context length is 4096 tokens. However, your messages resulted in 9001."
    return refusal(400, message, "context_length_exceeded")


async def _megabyte(request: web.Request, model: str) -> web.StreamResponse:
    return web.json_response(completion_of(model, {"role": "assistant", "content": "x" * 1_000_000}))


async def _invented(request: web.Request, model: str) -> web.StreamResponse:
    call = {"id": "c", "type": "function", "function": {"name": "launch_rocket", "arguments": "{}"}}
    return web.json_response(
        completion_of(model, {"role": "assistant", "content": None, "tool_calls": [call]})
    )


_CHAT_FAULTS = {
    "hang": _hang,
    "malformed": _malformed,
    "overflow": _overflow,
    "megabyte": _megabyte,
    "invented": _invented,
}


async def _streamed(
    request: web.Request, model: str, message: dict[str, Any], logprobs: dict[str, Any] | None
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)

    async def send(choices: list[Any], **more: Any) -> None:
        piece = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        await response.write(b"data: " + json.dumps({**piece, "choices": choices, **more}).encode() + b"\n\n")

    def choice(delta: dict[str, Any], finish: str | None = None, told: Any = None) -> list[Any]:
        return [{"index": 0, "delta": delta, "logprobs": told, "finish_reason": finish}]

    await send(choice({"role": "assistant", "content": ""}))
    await asyncio.sleep(0.02)
    for number, word in enumerate((message.get("content") or "").split(" ")):
        told = {"content": [logprobs["content"][number]], "refusal": None} if logprobs else None
        await send(choice({"content": word + " "}, told=told))
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        half = len(function["arguments"]) // 2
        head = {"name": function["name"], "arguments": function["arguments"][:half]}
        await send(
            choice({"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": head}]})
        )
        rest = {"arguments": function["arguments"][half:]}
        await send(choice({"tool_calls": [{"index": index, "function": rest}]}))
    await send(choice({}, "tool_calls" if message.get("tool_calls") else "stop"))
    await send([], usage={"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105})
    await response.write(b"data: [DONE]\n\n")
    return response
