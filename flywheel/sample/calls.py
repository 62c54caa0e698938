"""A call of the sample application, and its payloads in the shapes of the OpenAI chat-completions API."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any, Literal

Json = dict[str, Any]
ArgumentForm = Literal["string", "object"]

PRODUCTION_MODEL = "prod-large-70b"


@dataclasses.dataclass(frozen=True)
class ToolCall:
    """One call of a tool: the function's name and its arguments."""

    name: str
    arguments: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Reply:
    """What production answered: text, or tool calls."""

    text: str | None = None
    calls: tuple[ToolCall, ...] = ()


@dataclasses.dataclass(frozen=True)
class Call:
    """One request of the application and production's reply to it.

    `messages` and `tools` are in the API's shape, with tool-call arguments as objects; `payloads` writes them
    in the form a logger would.
    """

    workload_id: str
    messages: tuple[Json, ...]
    reply: Reply
    tools: tuple[Json, ...] = ()
    max_tokens: int = 96
    conversation: str | None = None


def function_tool(name: str, description: str, **parameters: Json) -> Json:
    """A tool of the API whose parameters are all required."""
    schema = {"type": "object", "properties": parameters, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def assistant_turn(reply: Reply, call_ids: list[str]) -> Json:
    """The reply as a message, with one id for each of its tool calls."""
    message: Json = {"role": "assistant", "content": reply.text}
    if reply.calls:
        message["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call, call_id in zip(reply.calls, call_ids, strict=True)
        ]
    return message


def new_call_ids(reply: Reply, rng: random.Random) -> list[str]:
    """Fresh ids for the reply's tool calls."""
    return [f"call_{rng.getrandbits(64):016x}" for _ in reply.calls]


def in_form(message: Json, form: ArgumentForm) -> Json:
    """A copy of the message with tool-call arguments as JSON strings or as objects."""
    if form == "object" or not message.get("tool_calls"):
        return message
    calls = [
        {**call, "function": {**call["function"], "arguments": json.dumps(call["function"]["arguments"])}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def payloads(call: Call, rng: random.Random, created: int, form: ArgumentForm) -> tuple[Json, Json]:
    """The request and the response as logged. `created` is in epoch seconds."""
    request: Json = {
        "model": PRODUCTION_MODEL,
        "messages": [in_form(message, form) for message in call.messages],
        "temperature": 0,
        "max_tokens": call.max_tokens,
    }
    if call.tools:
        request |= {"tools": list(call.tools), "tool_choice": "auto"}
    answer = assistant_turn(call.reply, new_call_ids(call.reply, rng))
    tokens_in, tokens_out = _tokens(request["messages"], request.get("tools")), _tokens(answer)
    response: Json = {
        "id": f"chatcmpl-{rng.getrandbits(64):016x}",
        "object": "chat.completion",
        "created": created,
        "model": PRODUCTION_MODEL,
        "choices": [
            {
                "index": 0,
                "message": in_form(answer, form),
                "finish_reason": "tool_calls" if call.reply.calls else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        },
    }
    return request, response


def _tokens(*payload: Any) -> int:
    """About as many tokens as the made-up production model would have counted: four characters each."""
    return max(1, sum(len(json.dumps(part)) for part in payload if part) // 4)
