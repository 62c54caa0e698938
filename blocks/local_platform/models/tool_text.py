"""Tools and tool calls as plain text, for models whose own chat template knows nothing of tools.

Everything that a template cannot express is moved into the text of ordinary messages; the model's own template then
frames those. The list of tools is written as signatures: on a CPU each token of a prompt costs time.
"""

from __future__ import annotations

import json
from typing import Any

CALL_START, CALL_END = "<tool_call>", "</tool_call>"
RESULT_START, RESULT_END = "<tool_response>", "</tool_response>"
HOW_TO_CALL = f'To call a tool, answer only with {CALL_START}{{"name":...,"arguments":{{...}}}}{CALL_END}'


def without_tools(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same conversation in system, user and assistant messages with text alone.

    Args:
        messages: Normalised messages: content is text, a call's arguments are an object (or text that is no JSON).
        tools: Function tools; may be empty.
    """
    plain: list[dict[str, Any]] = []
    if tools:
        has_system = bool(messages) and messages[0]["role"] == "system"
        own = messages[0]["content"] + "\n\n" if has_system and messages[0]["content"] else ""
        plain.append({"role": "system", "content": own + tool_section(tools)})
        messages = messages[1:] if has_system else messages
    after_result = False
    for message in messages:
        is_result = message["role"] == "tool"
        if is_result:
            text = f"{RESULT_START}{message['content']}{RESULT_END}"
            if after_result:  # results of parallel calls are one turn
                plain[-1]["content"] += text
            else:
                plain.append({"role": "user", "content": text})
        else:
            calls = "".join(call_text(call["function"]) for call in message.get("tool_calls", []))
            between = "\n" if message["content"] and calls else ""
            plain.append({"role": message["role"], "content": message["content"] + between + calls})
        after_result = is_result
    return plain


def call_text(function: dict[str, Any]) -> str:
    """One call as the model is to write it."""
    call = {"name": function["name"], "arguments": function["arguments"]}
    return f"{CALL_START}{_compact(call)}{CALL_END}"


def tool_section(tools: list[dict[str, Any]]) -> str:
    """The list of tools and how to call one."""
    return "\n".join(["# Tools", *map(_signature, tools), HOW_TO_CALL])


def _signature(tool: dict[str, Any]) -> str:
    function = tool.get("function", tool)
    schema = function.get("parameters") or {}
    required = set(schema.get("required") or ())
    parameters = [
        f"{name}{'' if name in required else '?'}: {_type(part)}"
        for name, part in (schema.get("properties") or {}).items()
    ]
    description = f" - {function['description']}" if function.get("description") else ""
    return f"{function.get('name')}({', '.join(parameters)}){description}"


def _type(schema: Any) -> str:
    """A JSON Schema as short as it can be said without losing anything that tells which values are right."""
    if not isinstance(schema, dict):
        return "any"
    rest = {
        key: value for key, value in schema.items() if key not in ("type", "description", "enum", "title")
    }
    if "enum" in schema:
        named = "|".join(_compact(value) for value in schema["enum"])
    elif rest or not isinstance(schema.get("type"), str):
        named = _compact({key: value for key, value in schema.items() if key not in ("description", "title")})
    else:
        named = schema["type"]
    return f"{named} ({schema['description']})" if schema.get("description") else named


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
