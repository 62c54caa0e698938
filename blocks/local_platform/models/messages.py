"""Chat messages of any client, brought to the one form that templates are given."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from flywheel.errors import DataError

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
ROLES["function"] = "tool"


class UnusableChat(DataError):
    """A conversation that cannot be shown to this model."""


def normalised(messages: Any) -> list[dict[str, Any]]:
    """Copies with a known role, content as text, and the arguments of calls as objects where they are JSON.

    The input is left alone. What does not change the prompt (ids of calls apart, names of fields unknown here) stays
    out, so that the same conversation is rendered the same wherever it comes from.

    Raises: UnusableChat.
    """
    if not isinstance(messages, list) or not messages:
        raise UnusableChat("messages must be a list with at least one message.")
    return [_message(message, position) for position, message in enumerate(messages)]


def function_tools(tools: Any) -> list[dict[str, Any]]:
    """The function tools of a request; None counts as none. Raises: UnusableChat."""
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise UnusableChat("tools must be a list.")
    for tool in tools:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise UnusableChat(
                "each tool must be of the form {'type': 'function', 'function': {'name': ...}}."
            )
    return tools


def _message(message: Any, position: int) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise UnusableChat(f"messages[{position}] must be an object.")
    named = message.get("role")
    role = ROLES.get(named) if isinstance(named, str) else None
    if role is None:
        raise UnusableChat(f"messages[{position}] has the unknown role {named!r}.")
    result: dict[str, Any] = {"role": role, "content": _text(message.get("content"), position)}
    calls = message.get("tool_calls")
    if role == "assistant" and calls:
        if not isinstance(calls, list):
            raise UnusableChat(f"messages[{position}].tool_calls must be a list.")
        result["tool_calls"] = [_call(call, position) for call in calls]
    if role == "tool":
        for key in ("tool_call_id", "name"):
            if isinstance(message.get(key), str):
                result[key] = message[key]
    return result


def _text(content: Any, position: int) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise UnusableChat(f"messages[{position}].content must be text, null or a list of parts.")
    texts = []
    for part in content:
        text = (
            part
            if isinstance(part, str)
            else part.get("text", part.get("refusal"))
            if isinstance(part, dict)
            else None
        )
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise UnusableChat(
                f"messages[{position}] has content of type {kind!r}; this model reads text only."
            )
        texts.append(text)
    return "\n".join(texts)


def _call(call: Any, position: int) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise UnusableChat(f"messages[{position}] has a tool call that is not a function call with a name.")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError):  # a model wrote this once; it is history and shown as it was
            arguments = json.loads(arguments) if arguments.strip() else {}
    result = {
        "type": "function",
        "function": {"name": function["name"], "arguments": {} if arguments is None else arguments},
    }
    if isinstance(call.get("id"), str):
        result["id"] = call["id"]
    return result
