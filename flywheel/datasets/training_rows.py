"""Rows for supervised fine-tuning: `{"messages", "tools"}` and nothing else, because trainers are strict.

The messages are the logged history and, last, the answer that production gave; the trainer puts loss on that
one. A request without tools has `"tools": []`, so every row has both keys. Answers that call no tool are rows
like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flywheel.records.arguments import arguments_as_object, arguments_as_string
from flywheel.records.messages import ToolCall, tool_calls

_ENCODER = msgspec.json.Encoder()


class _Request(msgspec.Struct):
    """What a row takes from a request, not decoded further."""

    messages: msgspec.Raw
    tools: msgspec.Raw = msgspec.Raw(b"null")
    functions: msgspec.Raw = msgspec.Raw(b"null")


class _Choice(msgspec.Struct):
    message: dict[str, Any]


class _Response(msgspec.Struct):
    choices: list[_Choice]


_REQUEST = msgspec.json.Decoder(_Request)
_RESPONSE = msgspec.json.Decoder(_Response)
_LIST = msgspec.json.Decoder(list[dict[str, Any]] | None)


def training_line(
    request: bytes, response: bytes, choice: int, roles: str, parse_function_arguments: bool
) -> bytes:
    """One row as a line of JSON, the line feed included.

    Args:
        request, response: JSON as logged, validated.
        choice: Position in `response.choices` of the answer.
        roles: A letter for each message after the system prompt; "a" means that the history holds answers.
        parse_function_arguments: Arguments as JSON objects, else as the JSON strings of the API.
    """
    logged = _REQUEST.decode(request)
    answer = _answer(response, choice)
    history = bytes(logged.messages)
    if "a" in roles or b"\n" in history:
        # Only answers hold arguments, so without one the history is copied as it stands: decoding it costs
        # five times as much. JSON from Parquet may be spread over lines, and a row is one line.
        history = _ENCODER.encode(trainer_messages(_LIST.decode(history) or [], parse_function_arguments))
    last = _ENCODER.encode(trainer_answer(answer, parse_function_arguments))
    head = history.rstrip()[:-1].rstrip()
    comma = b"" if head == b"[" else b","
    return b'{"messages":' + head + comma + last + b'],"tools":' + _tools(logged) + b"}\n"


def _answer(response: bytes, choice: int) -> dict[str, Any]:
    try:
        return _RESPONSE.decode(response).choices[choice].message
    except msgspec.ValidationError:  # a choice that is not the answer may be anything
        message: dict[str, Any] = msgspec.json.decode(response)["choices"][choice]["message"]
        return message


def trainer_answer(message: Mapping[str, Any], parse_function_arguments: bool) -> dict[str, Any]:
    """The production answer as a trainer's message: role, content, tool calls if any.

    Content that is null or absent, as it may be beside tool calls, becomes an empty text.
    """
    return _assistant(
        {"role": "assistant", "content": message.get("content")}, message, parse_function_arguments, 0
    )


def trainer_messages(
    messages: Sequence[Mapping[str, Any]], parse_function_arguments: bool
) -> list[dict[str, Any]]:
    """The history in the one form that trainers and chat templates know.

    Answers get a content (see `trainer_answer`) and arguments in the form asked for; `function_call` and the
    role "function" of the older API become `tool_calls` and "tool". Everything else stays as logged.
    """
    rows: list[dict[str, Any]] = []
    pending: str | None = None  # id of the older API's call that waits for its result
    for message in messages:
        role = message.get("role")
        if role == "assistant":
            kept = {
                k: v for k, v in message.items() if v is not None and k not in ("tool_calls", "function_call")
            }
            row = _assistant(
                {**kept, "content": message.get("content")}, message, parse_function_arguments, len(rows)
            )
            pending = (
                row["tool_calls"][0]["id"] if message.get("function_call") and "tool_calls" in row else None
            )
        elif role == "function":
            row = {
                "role": "tool",
                "tool_call_id": pending or f"call_{len(rows)}",
                "content": message.get("content"),
            }
        else:
            row = dict(message)
        rows.append(row)
    return rows


def _assistant(
    row: dict[str, Any], message: Mapping[str, Any], parse_function_arguments: bool, position: int
) -> dict[str, Any]:
    if row["content"] is None:
        row["content"] = ""
    if message.get("tool_calls") or message.get("function_call"):
        calls = [
            _call(call, f"call_{position}" + (f"_{number}" if number else ""), parse_function_arguments)
            for number, call in enumerate(tool_calls(message))
        ]
        if calls:
            row["tool_calls"] = calls
    return row


def _call(call: ToolCall, own_id: str, parse_function_arguments: bool) -> dict[str, Any]:
    convert = arguments_as_object if parse_function_arguments else arguments_as_string
    function = {"name": call.name, "arguments": convert(call.arguments)}
    return {"id": call.id or own_id, "type": "function", "function": function}


def _tools(request: _Request) -> bytes:
    tools = bytes(request.tools)
    if tools == b"null":
        older = _LIST.decode(request.functions) or []
        return _ENCODER.encode([{"type": "function", "function": function} for function in older])
    return _ENCODER.encode(msgspec.json.decode(tools)) if b"\n" in tools else tools
