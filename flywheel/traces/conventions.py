"""Where the generations of the GenAI conventions put a call's messages and tools.

1. Attributes `gen_ai.input.messages`, `gen_ai.output.messages`, `gen_ai.system_instructions` and
   `gen_ai.tool.definitions`, on the span or on its event `gen_ai.client.inference.operation.details`: as values, or
   as JSON text.
2. Attributes `gen_ai.prompt.N.…` and `gen_ai.completion.N.…`, and `llm.request.functions.N.…` for tools (OpenLLMetry).
3. Events of the span: `gen_ai.content.prompt` and `gen_ai.content.completion`; or `gen_ai.user.message` and its like
   for each message, and `gen_ai.choice`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from flywheel.traces.calls import Unmappable
from flywheel.traces.chat import Chat, choice_of, tools_of
from flywheel.traces.otlp import Event, Span

DETAILS = "gen_ai.client.inference.operation.details"
_INPUT, _OUTPUT = "gen_ai.input.messages", "gen_ai.output.messages"
_SYSTEM, _TOOLS = "gen_ai.system_instructions", "gen_ai.tool.definitions"
_MESSAGE_EVENTS = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}
_CHOICE = "gen_ai.choice"
_CONTENT = "gen_ai.event.content"
_FLAT = ("gen_ai.prompt.", "gen_ai.completion.", "llm.request.functions.")


class Said(NamedTuple):
    """What a call said: None where the trace does not hold it."""

    messages: list[dict[str, Any]] | None
    choices: list[dict[str, Any]] | None
    tools: list[dict[str, Any]] | None


def holds_messages(span: Span) -> bool:
    """Whether any generation's place for messages is filled."""
    return any(
        name in (_INPUT, _OUTPUT, "gen_ai.prompt", "gen_ai.completion") or name.startswith(_FLAT[:2])
        for name in span.attributes
    ) or any(event.name in _MESSAGE_EVENTS or event.name.startswith("gen_ai.c") for event in span.events)


def take_said(left: dict[str, Any], events: list[Event], finish_reasons: Any) -> Said:
    """Messages, choices and tools; the attributes that held them are taken out of `left`. Raises Unmappable."""
    chat = Chat()
    said: list[dict[str, Any]] | None = None
    answered: Any = None
    if _INPUT in left or _OUTPUT in left or _SYSTEM in left:
        system = left.pop(_SYSTEM, None)
        if isinstance(system, str) and system[:1] in ("[", "{"):  # some write the bare text
            system = _json(system, _SYSTEM)
        if system is not None:
            said = chat.messages([_instructions(system)], _SYSTEM)
        if _INPUT in left:
            said = (said or []) + chat.messages(_value(left, _INPUT), _INPUT)
        answered = _value(left, _OUTPUT)
    else:
        written, answered = _flattened(left)
        if written is None and answered is None:
            written, answered = _of_events(left, events)
        if written is not None:
            said = chat.messages(written, "the prompt")
    choices = None if answered is None else _choices(chat, answered, finish_reasons)
    return Said(said, choices, _take_tools(left))


def _choices(chat: Chat, answered: Any, finish_reasons: Any) -> list[dict[str, Any]]:
    answered = [answered] if isinstance(answered, dict) else answered
    reasons = finish_reasons if isinstance(finish_reasons, list) else []
    choices = []
    for position, written in enumerate(answered if isinstance(answered, list) else ()):
        message = {"role": "assistant"} | (written if isinstance(written, dict) else {"content": written})
        said = chat.message(message, _OUTPUT)
        if len(said) != 1:
            raise Unmappable("the answer holds the result of a tool that the provider ran itself")
        reason = message.get("finish_reason") or (reasons[position] if position < len(reasons) else None)
        choices.append(choice_of(said[0], reason))
    if len(choices) > 1:
        choices = [{"index": index, **choice} for index, choice in enumerate(choices)]
    if not choices:
        raise Unmappable(f"{_OUTPUT} holds no answer")
    return choices


def _take_tools(left: dict[str, Any]) -> list[dict[str, Any]] | None:
    if _TOOLS in left:
        return tools_of(_value(left, _TOOLS), _TOOLS)
    functions = _take_flat(left, _FLAT[2])
    return tools_of(functions, _FLAT[2] + "N") if functions else None


def _instructions(written: Any) -> dict[str, Any]:
    """Instructions are parts; some write messages."""
    parts = written if isinstance(written, list) else [written]
    if parts and all(isinstance(part, dict) and "role" in part and "type" not in part for part in parts):
        parts = [inner for part in parts for inner in part.get("parts") or [part.get("content")]]
    return {"role": "system", "parts": parts}


def _flattened(left: dict[str, Any]) -> tuple[Any, Any]:
    asked, answered = _take_flat(left, _FLAT[0]), _take_flat(left, _FLAT[1])
    return asked or None, answered or None


def _take_flat(left: dict[str, Any], prefix: str) -> list[Any]:
    """A list that was written as attributes `<prefix>N.<key>`, with lists in it written the same way."""
    tree: dict[str, Any] = {}
    for name in [name for name in left if name.startswith(prefix)]:
        *path, last = name[len(prefix) :].split(".")
        node = tree
        for key in path:
            inner = node.setdefault(key, {})
            if not isinstance(inner, dict):
                raise Unmappable(f"the attribute {name} contradicts another")
            node = inner
        node[last] = left.pop(name)
    listed = _listed(tree)
    return listed if isinstance(listed, list) else []


def _listed(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdecimal() for key in node):
        return [_listed(node[key]) for key in sorted(node, key=int)]
    return {key: _listed(value) for key, value in node.items()}


def _of_events(left: dict[str, Any], events: list[Event]) -> tuple[Any, Any]:
    """Messages and answers of the older events; the oldest stood in attributes, too."""
    asked: list[Any] = []
    answered: list[Any] = []
    whole: dict[str, Any] = {}
    for place in (left, *(event.attributes for event in events if event.name.startswith("gen_ai.content."))):
        for name in ("gen_ai.prompt", "gen_ai.completion"):
            if name in place:
                whole[name] = _value(place, name)
    for event in events:
        role = _MESSAGE_EVENTS.get(event.name)
        if role is not None:
            asked.append({"role": role} | _body(event))
        elif event.name == _CHOICE:
            body = _body(event)
            message = body.get("message")
            if isinstance(message, str):
                message = _json(message, _CHOICE) if message.startswith("{") else {"content": message}
            answered.append(
                (message or {k: v for k, v in body.items() if k in ("content", "tool_calls", "role")})
                | {"finish_reason": body.get("finish_reason")}
            )
    return asked or whole.get("gen_ai.prompt"), answered or whole.get("gen_ai.completion")


def _body(event: Event) -> dict[str, Any]:
    """What an event says: in one attribute as JSON, or in an attribute each."""
    body = event.attributes
    if _CONTENT in body:
        said = _value(dict(body), _CONTENT)
        body = said if isinstance(said, dict) else {"content": said}
    body = {"tool_call_id" if key == "id" else key: value for key, value in body.items()}
    calls = body.get("tool_calls")
    return body | {"tool_calls": _json(calls, event.name)} if isinstance(calls, str) else dict(body)


def _value(left: dict[str, Any], name: str) -> Any:
    """Take an attribute out: a value, or one in JSON text."""
    value = left.pop(name, None)
    return _json(value, name) if isinstance(value, str) else value


def _json(text: str, name: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unmappable(
            f"{name} is no JSON; it may have been cut by a limit on the length of attributes "
            "(OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT)"
        ) from error
