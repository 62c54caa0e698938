"""From the text that a model wrote to the assistant message of the OpenAI chat protocol."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from blocks.local_platform.models.tool_text import CALL_END, CALL_START

_CALL = re.compile(rf"{CALL_START}\s*(.*?)\s*(?:{CALL_END}|\Z)", re.DOTALL)
_MISTRAL = "[TOOL_CALLS]"


def assistant_message(text: str, *, tools_offered: bool) -> dict[str, Any]:
    """The message with `content` and, where the text holds calls, `tool_calls` with arguments as JSON strings.

    Understood are `<tool_call>{...}</tool_call>` (the last one may miss its end), `[TOOL_CALLS][...]`, and an answer
    that is nothing but a JSON call or a list of them. Text that only looks like a call stays content.
    """
    if tools_offered:
        content, calls = _tagged(text)
        if not calls:
            content, calls = _bare(text)
        if calls:
            return {"role": "assistant", "content": content or None, "tool_calls": calls}
    return {"role": "assistant", "content": text.strip()}


def _tagged(text: str) -> tuple[str, list[dict[str, Any]]]:
    calls: list[dict[str, Any]] = []

    def take(match: re.Match[str]) -> str:
        call = _as_call(_json(match.group(1)))
        if call is None:
            return match.group()
        calls.append(call)
        return ""

    return _CALL.sub(take, text).strip(), calls


def _bare(text: str) -> tuple[str, list[dict[str, Any]]]:
    before, mark, after = text.partition(_MISTRAL)
    content, body = (before.strip(), after) if mark else ("", text)
    parsed = _json(body.strip())
    calls = [_as_call(part) for part in (parsed if isinstance(parsed, list) else [parsed])]
    if calls and all(call is not None for call in calls):
        return content, [call for call in calls if call is not None]
    return text, []


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _as_call(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"]:
        return None
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        arguments = _json(arguments)
    if not isinstance(arguments, dict):
        return None
    return {
        "id": f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": value["name"], "arguments": json.dumps(arguments, ensure_ascii=False)},
    }
