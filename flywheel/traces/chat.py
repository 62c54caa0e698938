"""Messages as tracing tools write them, as messages of the chat-completions API.

The GenAI conventions write a message in parts (text, tool_call, tool_call_response, reasoning, blob, file, uri). Older
tools write what the provider's own API takes, OpenAI's or Anthropic's. All of them are read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flywheel.traces.calls import Unmappable

_ROLES = {"model": "assistant", "ai": "assistant", "bot": "assistant", "human": "user", "function": "tool"}
_AS_THEY_ARE = {"image_url", "input_audio", "file", "refusal"}
_FINISH = {
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
}
_KEPT = ("name", "refusal", "reasoning_content")


class Chat:
    """Translates the messages of one call, in order. Tool calls that have no id get one, and so do their results."""

    def __init__(self) -> None:
        self._unanswered: list[str] = []
        self._given = 0

    def messages(self, written: Any, where: str) -> list[dict[str, Any]]:
        """The messages of a list; a message with results of several tools becomes several. Raises Unmappable."""
        if isinstance(written, Mapping):
            written = [written]
        if not isinstance(written, list):
            raise Unmappable(f"{where} is no list of messages")
        return [chat for message in written for chat in self.message(message, where)]

    def message(self, written: Any, where: str) -> list[dict[str, Any]]:
        """One message, whatever its form. Raises Unmappable."""
        if not isinstance(written, Mapping) or not isinstance(written.get("role"), str):
            raise Unmappable(f"{where} holds a message without a role")
        role = _ROLES.get(written["role"].lower(), written["role"].lower())
        parts = written.get("parts")
        if parts is None:
            parts = _content_parts(written.get("content"))
        elif isinstance(parts, Mapping):
            parts = [parts]
        if not isinstance(parts, list):
            raise Unmappable(f"{where} holds a message whose parts are no list")
        content: list[Any] = []
        reasoning: list[str] = []
        called = written.get("tool_calls") or []
        if not isinstance(called, list):
            raise Unmappable(f"{where} holds a message whose tool_calls are no list")
        calls = [self._call(call, where) for call in called]
        results: list[dict[str, Any]] = []
        for part in parts:
            part = {"type": "text", "content": part} if isinstance(part, str) else part
            kind = str(part.get("type")) if isinstance(part, Mapping) else None
            if kind in ("text", "input_text", "output_text"):
                content.append({"type": "text", "text": _text(part, where)})
            elif kind in ("tool_call", "tool_use"):
                calls.append(self._call(part, where))
            elif kind in ("tool_call_response", "tool_result"):
                results.append(self._result(part))
            elif kind in ("reasoning", "thinking"):
                reasoning.append(str(part.get("content", part.get("thinking")) or ""))
            else:
                content.append(_medium(part, kind, where))
        return [*results, *self._rest(role, written, content, calls, reasoning, bool(results))]

    def _rest(
        self,
        role: str,
        written: Mapping[str, Any],
        content: list[Any],
        calls: list[dict[str, Any]],
        reasoning: list[str],
        has_results: bool,
    ) -> list[dict[str, Any]]:
        if has_results and not (content or calls):
            return []
        if role == "tool":
            return [
                self._result({"id": written.get("tool_call_id") or written.get("id"), "response": content})
            ]
        message: dict[str, Any] = {
            "role": role,
            "content": _joined(content) if content or not calls else None,
        }
        if calls:
            message["tool_calls"] = calls
        if reasoning:
            message["reasoning_content"] = "\n".join(reasoning)
        return [message | {key: written[key] for key in _KEPT if written.get(key)}]

    def _call(self, written: Any, where: str) -> dict[str, Any]:
        function = written.get("function", written) if isinstance(written, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise Unmappable(f"{where} holds a call of a tool without a name")
        arguments = function.get("arguments", function.get("input"))
        identity = written.get("id")
        if not isinstance(identity, str) or not identity:
            self._given += 1
            identity = f"call_{self._given}"
        self._unanswered.append(identity)
        return {
            "id": identity,
            "type": "function",
            "function": {
                "name": function["name"],
                "arguments": _as_text({} if arguments is None else arguments),
            },
        }

    def _result(self, part: Mapping[str, Any]) -> dict[str, Any]:
        identity = part.get("id") or part.get("tool_use_id") or part.get("tool_call_id")
        if not isinstance(identity, str):
            identity = self._unanswered[0] if self._unanswered else None
        if identity in self._unanswered:
            self._unanswered.remove(identity)
        said = next((part[key] for key in ("response", "result", "content") if part.get(key) is not None), "")
        message: dict[str, Any] = {"role": "tool", "content": _result_text(said)}
        return message if identity is None else message | {"tool_call_id": identity}


def choice_of(message: dict[str, Any], finish_reason: Any) -> dict[str, Any]:
    """A choice of a chat completion. The text of an answer is one string there."""
    content = message.get("content")
    if isinstance(content, list) and all(part.get("type") == "text" for part in content):
        message = message | {"content": "".join(part["text"] for part in content)}
    if not isinstance(finish_reason, str) or not finish_reason:
        return {"message": message}
    return {"message": message, "finish_reason": _FINISH.get(finish_reason.lower(), finish_reason.lower())}


def tools_of(written: Any, where: str) -> list[dict[str, Any]] | None:
    """Definitions of tools, as the request carries them; None where there are none. Raises Unmappable."""
    if not isinstance(written, list):
        raise Unmappable(f"{where} is no list of tools")
    return [_tool(tool, where) for tool in written] or None


def _tool(written: Any, where: str) -> dict[str, Any]:
    if isinstance(written, Mapping) and isinstance(written.get("function"), Mapping):
        return {"type": "function", "function": dict(written["function"])}
    if not isinstance(written, Mapping) or not isinstance(written.get("name"), str):
        raise Unmappable(f"{where} holds a tool without a name")
    if written.get("type", "function") not in ("function", "custom"):
        raise Unmappable(
            f"{where} holds a tool of the type {written['type']!r}, which the provider runs itself"
        )
    function = {
        key: written[key] for key in ("name", "description", "strict") if written.get(key) is not None
    }
    parameters = written.get("parameters", written.get("input_schema"))
    if isinstance(parameters, str):
        try:
            parameters = msgspec.json.decode(parameters)
        except msgspec.DecodeError as error:
            raise Unmappable(f"the parameters of the tool {written['name']} are no JSON") from error
    if parameters is not None:
        function["parameters"] = parameters
    return {"type": "function", "function": function}


def _content_parts(content: Any) -> Any:
    """Content in the forms that providers have; text that is a list of parts in JSON is read as that."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return _parts_in_text(content) or [content]
    return [content] if isinstance(content, Mapping) else content


def _parts_in_text(text: str) -> list[Any] | None:
    if not text.startswith("[{"):
        return None
    try:
        parts = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    known = ("text", "image_url", "tool_use", "tool_result", "thinking")
    return parts if all(isinstance(part, dict) and part.get("type") in known for part in parts) else None


def _medium(part: Any, kind: Any, where: str) -> dict[str, Any]:
    if isinstance(part, Mapping):
        if kind == "file" and isinstance(part.get("file_id"), str):
            return {"type": "file", "file": {"file_id": part["file_id"]}}
        if kind in _AS_THEY_ARE:
            return dict(part)
        kind_of = str(part.get("modality") or part.get("mime_type") or "").partition("/")[0]
        if kind == "uri" and kind_of == "image":
            return {"type": "image_url", "image_url": {"url": part.get("uri")}}
        if kind == "blob" and kind_of == "image" and part.get("mime_type"):
            url = f"data:{part['mime_type']};base64,{part.get('content')}"
            return {"type": "image_url", "image_url": {"url": url}}
    raise Unmappable(f"{where} holds a part of the type {kind!r}, which has no place in a chat completion")


def _text(part: Mapping[str, Any], where: str) -> str:
    text = part.get("content", part.get("text"))
    if not isinstance(text, str):
        raise Unmappable(f"{where} holds a text part without text")
    return text


def _joined(content: list[Any]) -> Any:
    if not content:
        return ""
    return content[0]["text"] if len(content) == 1 and content[0].get("type") == "text" else content


def _result_text(said: Any) -> str:
    if isinstance(said, list) and all(isinstance(part, Mapping) and "text" in part for part in said):
        return "\n".join(str(part["text"]) for part in said)
    return _as_text(said)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
