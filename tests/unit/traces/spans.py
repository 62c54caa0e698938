"""Spans as OTLP/JSON writes them, made of plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.errors import DataError
from flywheel.records.timestamps import to_seconds

SETTINGS = ("model", "temperature", "top_p", "max_tokens", "seed")


def any_value(value: Any) -> dict[str, Any]:
    """A value under the key that names its type."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": pairs(value)}}
    if isinstance(value, Sequence):
        return {"arrayValue": {"values": [any_value(inner) for inner in value]}}
    return {}


def pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": any_value(value)} for key, value in values.items()]


def span(
    attributes: Mapping[str, Any], events: Sequence[tuple[str, Mapping[str, Any]]] = (), **fields: Any
) -> dict[str, Any]:
    """A span with these attributes, and events by name."""
    happened = [{"name": name, "timeUnixNano": "1", "attributes": pairs(said)} for name, said in events]
    return {"attributes": pairs(attributes), **({"events": happened} if happened else {}), **fields}


def document(spans: Sequence[Any], resource: Mapping[str, Any] = {}) -> dict[str, Any]:
    return {
        "resourceSpans": [
            {"resource": {"attributes": pairs(resource)}, "scopeSpans": [{"scope": {}, "spans": list(spans)}]}
        ]
    }


def in_parts(message: Mapping[str, Any]) -> dict[str, Any]:
    """A chat message as the conventions write it."""
    content = message.get("content")
    if message["role"] == "tool":
        part = {"type": "tool_call_response", "id": message["tool_call_id"], "response": content}
        return {"role": "tool", "parts": [part]}
    texts = [content] if isinstance(content, str) else [part["text"] for part in content or ()]
    parts: list[dict[str, Any]] = [{"type": "text", "content": text} for text in texts]
    for call in message.get("tool_calls") or ():
        function = call["function"]
        arguments = json.loads(function["arguments"])
        parts.append(
            {"type": "tool_call", "id": call["id"], "name": function["name"], "arguments": arguments}
        )
    return {"role": message["role"], "parts": parts}


def as_span(logged: Mapping[str, Any]) -> dict[str, Any]:
    """A record as an instrumented application would trace it; what has no attribute of its own as `flywheel.X`."""
    logged = dict(logged)
    attributes: dict[str, Any] = {"gen_ai.operation.name": "chat"}
    fields: dict[str, Any] = {"kind": 3}
    request, response = logged.pop("request", None), logged.pop("response", None)
    if request is not None:
        attributes["gen_ai.input.messages"] = json.dumps(
            [in_parts(message) for message in request["messages"]]
        )
        attributes |= {f"gen_ai.request.{key}": request[key] for key in SETTINGS if key in request}
        if request.get("tools"):
            tools = [{"type": "function", **tool["function"]} for tool in request["tools"]]
            attributes["gen_ai.tool.definitions"] = tools  # not every exporter can only write text
    if response is not None:
        attributes["gen_ai.output.messages"] = json.dumps(
            [in_parts(c["message"]) for c in response["choices"]]
        )
    try:
        start = round(to_seconds(logged.get("timestamp")) * 1e6) * 1_000
    except DataError:
        pass
    else:
        fields["startTimeUnixNano"] = str(start)
        logged.pop("timestamp")
        if isinstance(logged.get("latency_ms"), float):
            fields["endTimeUnixNano"] = str(start + round(logged.pop("latency_ms") * 1e6))
    if isinstance(logged.get("tokens_in"), int) and logged["tokens_in"] > 0:
        attributes["gen_ai.usage.input_tokens"] = logged.pop("tokens_in")
    if "conversation_id" in logged:
        attributes["gen_ai.conversation.id"] = logged.pop("conversation_id")
    attributes |= {f"flywheel.{key}": value for key, value in logged.items() if value is not None}
    return span(attributes, **fields)
