"""Spans as OTLP/JSON writes them, made of plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


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
    parts: list[dict[str, Any]] = []
    if message.get("content") is not None:
        parts.append({"type": "text", "content": message["content"]})
    for call in message.get("tool_calls") or ():
        function = call["function"]
        arguments = json.loads(function["arguments"])
        parts.append(
            {"type": "tool_call", "id": call["id"], "name": function["name"], "arguments": arguments}
        )
    return {"role": message["role"], "parts": parts}
