"""A generation that Langfuse observed as a record of a log.

https://api.reference.langfuse.com. Keys of the observation's metadata that are none of Langfuse's own become fields of
the record; the keys of metadata that the SDK puts under `attributes` and `resourceAttributes` are looked at for ids.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from flywheel.errors import DataError
from flywheel.records.log_line import PAYLOADS, Unreadable
from flywheel.records.timestamps import to_seconds
from flywheel.traces.calls import (
    NO_MODEL_CALL,
    UNMAPPABLE,
    Labels,
    Recorded,
    Unmappable,
    as_fields,
    first_named,
)
from flywheel.traces.chat import Chat, choice_of, tools_of

WORKLOAD = ("workload_id", "flywheel.workload_id", "tag:workload", "trace.name")
CLIENT = ("client_id", "flywheel.client_id", "tag:client", "service.name", "environment")
_SDK = ("attributes", "resourceAttributes", "scope")
_PARAMETERS = {
    *(
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_completion_tokens",
        "frequency_penalty",
        "seed",
        "n",
    ),
    *(
        "presence_penalty",
        "stop",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
    ),
}
_object = msgspec.json.Decoder(dict[str, Any])
_names = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CALLED = ("role", "content", "tool_calls", "function_call", "parts")


def recorded_generation(
    observation: Mapping[str, Any], trace: Mapping[str, Any] | None, labels: Labels
) -> Recorded:
    """What one observation of the type GENERATION becomes.

    Args:
        trace: The trace that it belongs to (`name`, `tags`, `sessionId`); None where it is not known.
    """
    metadata = _metadata(observation)
    places = (metadata, *(metadata.pop(key) for key in _SDK if isinstance(metadata.get(key), dict)))
    context = _context(observation, trace or {})
    ids = {
        "id": observation.get("id"),
        "workload_id": first_named(labels.workload or WORKLOAD, *places, context),
        "client_id": first_named(labels.client or CLIENT, *places, context),
    }
    known = {key: value for key, value in metadata.items() if key not in ids and key not in PAYLOADS}
    try:
        derived = ids | _payloads(observation) | _figures(observation)
    except Unmappable as error:
        return Recorded(as_fields(ids), Unreadable(UNMAPPABLE, str(error)))
    conversation = (
        (trace or {}).get("sessionId") or observation.get("sessionId") or observation.get("traceId")
    )
    derived["conversation_id"] = known.pop("conversation_id", None) or conversation
    return Recorded(as_fields(known | {key: value for key, value in derived.items() if value is not None}))


def exported_generation(line: bytes, labels: Labels) -> Recorded:
    """What a line of an export becomes: an observation, with what the export says of its trace beside it.

    Exports to a bucket have names in snake case, those of the UI in camel case.
    """
    try:
        row = {_camel(name): value for name, value in _object.decode(line).items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Recorded({}, Unreadable("not_json", str(error)))
    if row.get("type") not in (None, "GENERATION"):
        return Recorded({}, Unreadable(NO_MODEL_CALL, f"the observation is no model call but {row['type']}"))
    row.setdefault("model", row.get("providedModelName"))
    for name in ("modelParameters", "usageDetails"):
        row[name] = _parsed(row.get(name))
    trace = {"name": row.get("traceName"), "tags": _parsed(row.get("traceTags") or row.get("tags"))}
    return recorded_generation(row, trace, labels)


def looks_like_an_export(line: bytes) -> bool:
    """Whether a file that begins with this line was exported from Langfuse."""
    try:
        names = {_camel(name) for name in _names.decode(line)}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return {"traceId", "startTime", "type"} <= names and not names & {"request", "response"}


def _camel(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(word.capitalize() for word in more)


def _metadata(observation: Mapping[str, Any]) -> dict[str, Any]:
    metadata = _parsed(observation.get("metadata"))
    return (
        dict(metadata)
        if isinstance(metadata, Mapping)
        else {}
        if metadata is None
        else {"metadata": metadata}
    )


def _context(observation: Mapping[str, Any], trace: Mapping[str, Any]) -> dict[str, Any]:
    """What labels may name beside metadata: `name`, `environment`, `trace.name`, and tags `X:…` as `tag:X`."""
    context = {key: observation.get(key) for key in ("name", "environment", "version")}
    context |= {
        f"trace.{key}": trace.get(key) for key in ("name", "userId", "release", "version", "environment")
    }
    tags = trace.get("tags")
    for tag in tags if isinstance(tags, list) else ():
        key, colon, value = str(tag).partition(":")
        if colon:
            context.setdefault(f"tag:{key.strip()}", value.strip())
    return context


def _payloads(observation: Mapping[str, Any]) -> dict[str, Any]:
    failed = observation.get("level") == "ERROR"
    said = str(observation.get("statusMessage") or "no message")
    request, response = _request(observation), _response(observation.get("output"))
    incomplete = f"Langfuse calls it an error: {said}" if failed and response is not None else None
    if failed and response is None:
        response = {"error": {"message": said}}
    return {"request": request, "response": response, "incomplete": incomplete}


def _request(observation: Mapping[str, Any]) -> dict[str, Any] | None:
    asked = _parsed(observation.get("input"))
    if asked is None:
        return None
    chat = Chat()
    request: dict[str, Any] = {}
    if isinstance(asked, Mapping) and isinstance(asked.get("messages"), list):
        request = {key: value for key, value in asked.items() if key != "messages" and value is not None}
        asked = asked["messages"]
    elif isinstance(asked, str):
        asked = [{"role": "user", "content": asked}]
    elif isinstance(asked, Mapping) and "role" not in asked:
        raise Unmappable("the input is an object without messages")
    written = asked if isinstance(asked, list) else [asked]
    tools = [message["content"] for message in written if _defines_a_tool(message)]
    messages = chat.messages([message for message in written if not _defines_a_tool(message)], "the input")
    tools = tools + list(request.pop("tools", None) or [])
    settings = _settings(observation.get("modelParameters"))
    model = {"model": observation["model"]} if isinstance(observation.get("model"), str) else {}
    request = model | settings | request | {"messages": messages}
    return request if not tools else request | {"tools": tools_of(tools, "the input's tools")}


def _defines_a_tool(message: Any) -> bool:
    """LangChain's handler writes the tools on offer as messages."""
    content = message.get("content") if isinstance(message, Mapping) else None
    return isinstance(content, Mapping) and isinstance(content.get("function"), Mapping)


def _settings(parameters: Any) -> dict[str, Any]:
    """Parameters of the request; Langfuse may hand numbers on as text, and what was not set as infinity."""
    settings: dict[str, Any] = {}
    for name, value in (parameters if isinstance(parameters, Mapping) else {}).items():
        if name not in _PARAMETERS or value is None or value == "":
            continue
        if isinstance(value, str) and name not in ("tool_choice", "stop", "reasoning_effort"):
            try:
                number = float(value)
            except ValueError:
                settings[name] = _parsed(value)
                continue
            if not math.isfinite(number):
                continue
            value = int(number) if number.is_integer() and "." not in value else number
        settings[name] = value
    return settings


def _response(output: Any) -> dict[str, Any] | None:
    answered = _parsed(output)
    if answered is None:
        return None
    if isinstance(answered, Mapping) and isinstance(answered.get("choices"), list):
        return dict(answered)
    if isinstance(answered, list) and len(answered) == 1:
        answered = answered[0]
    if isinstance(answered, Mapping) and any(key in answered for key in _CALLED):
        written: dict[str, Any] = {"role": "assistant", **answered}
        reason = answered.get("finish_reason")
    else:  # an answer in JSON was taken apart on the way
        text = answered if isinstance(answered, str) else msgspec.json.encode(answered).decode()
        written, reason = {"role": "assistant", "parts": [{"type": "text", "content": text}]}, None
    said = Chat().message(written, "the output")
    if len(said) != 1 or said[0]["role"] != "assistant":
        raise Unmappable("the output is no answer of a model")
    return {"choices": [choice_of(said[0], reason)]}


def _figures(observation: Mapping[str, Any]) -> dict[str, Any]:
    start = observation.get("startTime")
    usage: Any = next((observation[key] for key in ("usageDetails", "usage") if observation.get(key)), None)
    usage = usage if isinstance(usage, Mapping) else {}
    return {
        "timestamp": start,
        "latency_ms": _milliseconds(start, observation.get("endTime")),
        "time_to_first_token_ms": _milliseconds(start, observation.get("completionStartTime")),
        "tokens_in": usage.get("input"),
        "tokens_out": usage.get("output"),
    }


def _milliseconds(start: Any, end: Any) -> float | None:
    try:
        passed = round((to_seconds(end) - to_seconds(start)) * 1e3, 3)
    except DataError:
        return None
    return passed if passed >= 0 else None


def _parsed(value: Any) -> Any:
    """The value, where it came as JSON text of an object or a list."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return value
    return value
