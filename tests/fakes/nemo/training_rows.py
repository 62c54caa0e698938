"""Which rows the Customizer can train on."""

from __future__ import annotations

from typing import Any

ROLES = {"system", "user", "assistant", "tool"}


def row_problem(row: dict[str, Any]) -> str | None:
    """What the real service refuses in a training row."""
    if set(row) - {"messages", "tools"}:
        return "unknown field"
    for message in row["messages"]:
        if message["role"] not in ROLES or not isinstance(message["content"], str):
            return "messages: content must be a string"
        for call in message.get("tool_calls", []):
            if not isinstance(call["function"]["arguments"], dict):
                return "tool_calls: arguments must be an object"
    if row["messages"][-1]["role"] != "assistant":
        return "the last message must be the assistant's"
    for tool in row.get("tools", []):
        if len(tool["function"].get("parameters", {}).get("properties", {})) > 8:
            return "tools: at most 8 parameters"
    return "tools: empty list" if row.get("tools") == [] else None
