"""A streamed chat completion put together again: the object that the same call would have returned unstreamed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from flywheel_exporter.events import Event

DONE = b"[DONE]"
_DECODER = json.JSONDecoder(parse_constant=lambda name: None)
_SET_ONCE = frozenset({"role", "type", "id", "index"})
_OF_CHUNKS = frozenset({"choices", "object", "usage"})


class Streamed(NamedTuple):
    """What a stream said.

    Attributes:
        response: The chat completion as far as it came.
        whole: Whether the model was done: each choice has its `finish_reason`, or the end was announced.
        first_token: When the first content, reasoning or tool call arrived; None if none did.
    """

    response: dict[str, Any]
    whole: bool
    first_token: float | None


def reassembled(stream: Iterable[Event]) -> Streamed:
    """The completion of a stream's events. What cannot be read is passed over and makes the stream not whole.

    Unknown fields are kept: text in deltas is joined, lists are joined, of anything else the last value stays.
    """
    response: dict[str, Any] = {"object": "chat.completion"}
    choices: dict[int, dict[str, Any]] = {}
    announced = damaged = False
    first_token = None
    for event in stream:
        if event.data.strip() == DONE:
            announced = True
            break
        try:
            chunk = loads(event.data)
        except ValueError:
            damaged = True
            continue
        if not isinstance(chunk, dict):
            damaged = True
            continue
        if chunk.get("error"):
            damaged = True
        _add_to_response(response, chunk)
        parts = chunk.get("choices")
        for position, choice in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(choice, dict) and _add_choice(choices, position, choice) and first_token is None:
                first_token = event.arrived
    response["choices"] = [_finished(choices[index]) for index in sorted(choices)]
    said = bool(choices) and all(choice.get("finish_reason") for choice in choices.values())
    return Streamed(response, (announced or said) and not damaged, first_token)


def loads(data: bytes) -> Any:
    """JSON, with the not-a-numbers that some servers write, and that no reader of logs takes, as null.

    Raises: ValueError where it is no JSON or no UTF-8, RecursionError where it is too deep.
    """
    return _DECODER.decode(data.decode())


def _add_to_response(response: dict[str, Any], chunk: dict[str, Any]) -> None:
    for key, value in chunk.items():
        if key not in _OF_CHUNKS and value is not None:
            response[key] = value
    if chunk.get("usage") is not None:
        response["usage"] = chunk["usage"]


def _add_choice(choices: dict[int, dict[str, Any]], position: int, part: dict[str, Any]) -> bool:
    """Add one chunk's part of a choice; whether it brought anything that the model said."""
    index = part.get("index")
    choice = choices.setdefault(
        index if isinstance(index, int) else position,
        {"index": index if isinstance(index, int) else position, "message": {}, "finish_reason": None},
    )
    said = False
    for key, value in part.items():
        if key == "delta" and isinstance(value, dict):
            said = _add_delta(choice["message"], value)
        elif key == "message" and isinstance(value, dict):  # some servers end with the whole message
            choice["message"] = value
            said = True
        elif key == "logprobs" and isinstance(value, dict):
            choice["logprobs"] = choice.get("logprobs") or {}
            _merge(choice["logprobs"], value)
        elif value is not None and key not in ("delta", "message", "index"):
            choice[key] = value
    return said


def _add_delta(message: dict[str, Any], delta: dict[str, Any]) -> bool:
    said = False
    for key, value in delta.items():
        if key == "tool_calls" and isinstance(value, list):
            calls = message.get("tool_calls")
            if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
                calls = message["tool_calls"] = []
            for part in value:
                if isinstance(part, dict):
                    _add_call(calls, part)
                    said = True
        elif value is not None:
            if key not in _SET_ONCE and value:
                said = True
                before = message.get(key)
                if isinstance(before, str) and isinstance(value, str):  # nearly every chunk
                    message[key] = before + value
                    continue
            _merge(message, {key: value})
        else:
            message.setdefault(key, None)
    return said


def _add_call(calls: list[dict[str, Any]], part: dict[str, Any]) -> None:
    """Add a part of a tool call to the call that it continues, or begin a new one.

    The index tells which; servers that give none, or the same to all, are told apart by a new id.
    """
    index, call_id = part.get("index"), part.get("id")
    call = None
    if isinstance(index, int):
        call = next((call for call in reversed(calls) if call.get("index") == index), None)
    elif call_id:
        call = next((call for call in calls if call.get("id") == call_id), None)
    elif calls:
        call = calls[-1]
    if call is None or (call_id and call.get("id") and call["id"] != call_id):
        call = {}
        calls.append(call)
    if index is not None:
        call.setdefault("index", index)
    function = part.get("function")
    _merge(call, {key: value for key, value in part.items() if key != "function"})
    if isinstance(function, dict):
        if not isinstance(call.get("function"), dict):
            call["function"] = {}
        _add_function(call["function"], function)


def _add_function(function: dict[str, Any], part: dict[str, Any]) -> None:
    name = part.get("name")
    if (
        isinstance(name, str) and name and function.get("name") != name
    ):  # some servers say the name again with each part
        before = function.get("name")
        function["name"] = before + name if isinstance(before, str) else name
    _merge(function, {key: value for key, value in part.items() if key != "name"})


def _merge(into: dict[str, Any], part: dict[str, Any]) -> None:
    for key, value in part.items():
        before = into.get(key)
        if value is None:
            into.setdefault(key, None)
        elif before is None:
            into[key] = _own(value)
        elif isinstance(before, dict) and isinstance(value, dict):
            _merge(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            before.extend(value)
        elif isinstance(before, str) and isinstance(value, str) and key not in _SET_ONCE:
            into[key] = before + value
        elif key not in _SET_ONCE:
            into[key] = value


def _own(value: Any) -> Any:
    return list(value) if isinstance(value, list) else dict(value) if isinstance(value, dict) else value


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice["message"]
    message.setdefault("role", "assistant")
    message.setdefault("content", None)
    calls = message.get("tool_calls")
    if calls and message["content"] == "":
        message["content"] = None
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict) and isinstance(call.setdefault("function", {}), dict):
            call.pop("index", None)
            call.setdefault("type", "function")
            call["function"].setdefault("arguments", "")
    return choice
