"""Chat messages as the API allows them: content in four shapes, tool calls in two.

Nothing here trusts a message to be well formed beyond what it says, and nothing changes one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from flywheel.records.arguments import parse_arguments

SYSTEM_ROLES = frozenset({"system", "developer"})
TOOL_ROLES = frozenset({"tool", "function"})
ROLES = SYSTEM_ROLES | TOOL_ROLES | {"user", "assistant"}

_ENCODER = msgspec.json.Encoder(order="deterministic")


class ToolCall(msgspec.Struct, frozen=True):
    """One call in an assistant message; `arguments` as written, a JSON string or an object."""

    id: str | None
    name: str
    arguments: Any


def content_text(content: Any) -> str:
    """The text of a message's `content`: null and absent are empty, the parts of a list stand a line each.

    A part that is not text becomes `[type digest]`: two pictures are two texts, and none is empty.
    """
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        return "\n".join(_part_text(part) for part in content)
    return _placeholder("content", content)


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        for key in ("text", "refusal"):
            if isinstance(part.get(key), str):
                return str(part[key])
        return _placeholder(str(part.get("type", "part")), part)
    return _placeholder("part", part)


def _placeholder(kind: str, value: Any) -> str:
    return f"[{kind} {hashlib.blake2b(_ENCODER.encode(value), digest_size=6).hexdigest()}]"


def tool_calls(message: Mapping[str, Any]) -> list[ToolCall]:
    """The function calls of a message, in order; the older `function_call` counts as one.

    Entries that are not function calls are passed over: validation refuses them in logged answers, and a
    candidate gets no credit for them.
    """
    calls = [
        ToolCall(_id_of(entry), entry["function"]["name"], entry["function"].get("arguments"))
        for entry in message.get("tool_calls") or ()
        if is_function_call(entry)
    ]
    legacy = message.get("function_call")
    if not calls and isinstance(legacy, dict) and isinstance(legacy.get("name"), str):
        calls.append(ToolCall(None, legacy["name"], legacy.get("arguments")))
    return calls


def _id_of(entry: Mapping[str, Any]) -> str | None:
    name = entry.get("id")
    return name if isinstance(name, str) else None


def is_function_call(entry: Any) -> bool:
    """Whether an entry of `tool_calls` is a function call with a name. An absent `type` means function."""
    if not isinstance(entry, dict) or entry.get("type", "function") not in ("function", None):
        return False
    function = entry.get("function")
    return isinstance(function, dict) and isinstance(function.get("name"), str) and bool(function["name"])


def message_text(message: Mapping[str, Any]) -> str:
    """All that a message says: its content, then a line `name(arguments)` for each tool call."""
    content = message.get("content")
    text = content if isinstance(content, str) else content_text(content)
    if not (message.get("tool_calls") or message.get("function_call")):
        return text
    lines = [text] if text else []
    lines += [f"{call.name}({_arguments_text(call.arguments)})" for call in tool_calls(message)]
    return "\n".join(lines)


def _arguments_text(arguments: Any) -> str:
    # One text for both forms: {"a": 1} as an object and as a string with other spacing or order read alike.
    try:
        return _ENCODER.encode(parse_arguments(arguments)).decode()
    except ValueError:
        return str(arguments)


def system_text(messages: Iterable[Mapping[str, Any]]) -> str:
    """The system and developer messages, joined by blank lines; empty where there are none."""
    return "\n\n".join(content_text(m.get("content")) for m in messages if m.get("role") in SYSTEM_ROLES)


def last_user_text(messages: Iterable[Mapping[str, Any]]) -> str:
    """The text of the last user message; empty where there is none."""
    text = ""
    for message in messages:
        if message.get("role") == "user":
            text = content_text(message.get("content"))
    return text
