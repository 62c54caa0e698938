"""Between the bodies of the OpenAI chat protocol and the engine."""

from __future__ import annotations

import time
import uuid
from typing import Any

from blocks.local_platform.models.chat_format import ChatFormat
from blocks.local_platform.models.tool_text import CALL_START
from blocks.local_platform.serving.answer_parsing import assistant_message
from blocks.local_platform.serving.generation import Generation

DEFAULT_MAX_TOKENS = 1024
"""Longest answer where the request sets none: a small model that rambles must not hold a row for minutes."""


class BadRequest(Exception):
    """A request that is answered with an error of the protocol."""

    def __init__(
        self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {"message": message, "type": "invalid_request_error", "param": param, "code": code},
        }


def generation_of(body: Any, chat_format: ChatFormat, context_length: int) -> Generation:
    """What the engine is asked for. Raises: BadRequest, UnusableChat."""
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    model = body.get("model")
    if not isinstance(model, str):
        raise BadRequest("model must be a string.", param="model")
    for key, allowed in (("n", (None, 1)), ("stream", (None, False))):
        if body.get(key) not in allowed:
            raise BadRequest(f"{key}={body[key]!r} is not supported here.", param=key)
    begun = _begun(body, chat_format)
    prompt = chat_format.prompt(body.get("messages"), body.get("tools"))
    room = context_length - len(prompt) - len(begun)
    if room < 1:
        raise BadRequest(
            f"This model's maximum context length is {context_length} tokens, but the prompt has {len(prompt)}. "
            "Shorten the messages.",
            code="context_length_exceeded",
            param="messages",
        )
    asked = body.get("max_completion_tokens") or body.get("max_tokens")
    longest = int(_number(asked, "max_tokens", 1, None, DEFAULT_MAX_TOKENS))
    seed = body.get("seed")
    if seed is not None and not isinstance(seed, int):
        raise BadRequest("seed must be an integer.", param="seed")
    return Generation(
        model=model,
        prompt=prompt,
        begun=begun,
        max_tokens=min(longest, room) + len(begun),
        temperature=_number(body.get("temperature"), "temperature", 0, 2, 1.0),
        top_p=_number(body.get("top_p"), "top_p", 0, 1, 1.0),
        stop=_stops(body.get("stop")),
        seed=None if seed is None else abs(seed),
        tells_logprobs=_told(body),
    )


def completion(generation: Generation, body: dict[str, Any], chat_format: ChatFormat) -> dict[str, Any]:
    """The chat completion for an answer that came to its end."""
    text = chat_format.decode(generation.answer)
    ends = [position for mark in generation.stop if (position := text.find(mark)) >= 0]
    if ends:
        text = text[: min(ends)]
    may_call = bool(body.get("tools")) and body.get("tool_choice") != "none"
    message = assistant_message(text, tools_offered=may_call)
    reason = generation.finish_reason
    if message.get("tool_calls") and reason == "stop":
        reason = "tool_calls"
    told = {"content": _logprobs(generation, chat_format)} if generation.tells_logprobs else None
    tokens_in, tokens_out = len(generation.prompt), len(generation.answer)
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": generation.model,
        "choices": [{"index": 0, "message": message, "logprobs": told, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        },
    }


def _told(body: dict[str, Any]) -> bool:
    asked = body.get("logprobs")
    if asked not in (None, True, False):
        raise BadRequest("logprobs must be true or false.", param="logprobs")
    if body.get("top_logprobs"):
        raise BadRequest(
            "top_logprobs is not supported here; the chosen tokens' are told.", param="top_logprobs"
        )
    return bool(asked)


def _logprobs(generation: Generation, chat_format: ChatFormat) -> list[dict[str, Any]]:
    """The tokens that the model chose, each with its log-probability; not those that a forced call begins with.

    As the protocol has it, the token that ends the answer is not among them.
    """
    told = []
    chosen = generation.answer[len(generation.begun) :]
    for token, value in zip(chosen, generation.logprobs, strict=True):
        if token in chat_format.stop_ids:
            continue
        text = chat_format.decode([token])
        # A token may be a part of a character; only whole ones have bytes that are its own.
        whole = None if "\ufffd" in text else list(text.encode())
        told.append({"token": text, "logprob": value, "bytes": whole, "top_logprobs": []})
    return told


def _begun(body: dict[str, Any], chat_format: ChatFormat) -> list[int]:
    """Tokens that force a call where `tool_choice` demands one.

    "none" leaves the tools in the prompt, as training rows have them, and only does not read calls out of the answer.
    Forcing is done in our own notation of calls, so not for models whose template has one of its own.
    """
    choice = body.get("tool_choice")
    named = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    if choice not in (None, "none", "auto", "required") and not isinstance(named, str):
        raise BadRequest("tool_choice must be none, auto, required or a named function.", param="tool_choice")
    if choice in (None, "none", "auto"):
        return []
    if not body.get("tools"):
        raise BadRequest("tool_choice needs tools.", param="tool_choice")
    if chat_format.renders_tools:
        return []
    return chat_format.encode_text(CALL_START + '{"name":"' + (f'{named}","arguments":' if named else ""))


def _number(value: Any, name: str, low: float, high: float | None, default: float) -> float:
    if value is None:
        return default
    in_range = isinstance(value, int | float) and value >= low and (high is None or value <= high)
    if isinstance(value, bool) or not in_range:
        upper = "" if high is None else f" and at most {high}"
        raise BadRequest(f"{name} must be a number of at least {low}{upper}, not {value!r}.", param=name)
    return float(value)


def _stops(value: Any) -> list[str]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or not all(isinstance(mark, str) and mark for mark in stops):
        raise BadRequest("stop must be a string or a list of strings.", param="stop")
    return stops
