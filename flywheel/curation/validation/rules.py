"""The rules for one request's messages and one response's answer. A rule that is broken raises `RuleBroken`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.errors import DataError
from flywheel.records.answers import answer_choice, is_cut_off
from flywheel.records.arguments import parse_arguments
from flywheel.records.messages import ROLES, ToolCall, is_function_call, tool_calls

_TEXT_ONLY = {"role", "content"}


class RuleBroken(Exception):
    """Caught inside validation, where it becomes a `Drop`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def check_messages(messages: Any, first: int = 0) -> list[dict[str, Any]]:
    """The messages of a request if all of them follow the rules; `first` is the position of the first of them."""
    if not isinstance(messages, list) or not messages:
        raise RuleBroken("no_messages", "request.messages is absent, empty or no list")
    open_calls: set[str] = set()
    for position, message in enumerate(messages, first):
        if not isinstance(message, dict):
            raise RuleBroken("bad_message", f"request.messages[{position}] is not an object")
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise RuleBroken("bad_role", f"request.messages[{position}] has the role {_shown(role)}")
        if role != "assistant" and role != "tool" and isinstance(message.get("content"), str):
            continue  # nearly every message
        where = f"request.messages[{position}]"
        _check_content(message, where)
        if role == "assistant":
            open_calls |= _check_calls(message, where)
            if message.get("content") is None and not _calls_or_more(message):
                raise RuleBroken("bad_message", f"{where} has neither content nor tool calls")
        elif message.get("content") is None:
            raise RuleBroken("bad_message", f"{where} has no content")
        if role == "tool":
            call_id = message.get("tool_call_id")
            if not isinstance(call_id, str) or call_id not in open_calls:
                raise RuleBroken(
                    "tool_call_id_unmatched",
                    f"{where}.tool_call_id {_shown(call_id)} answers no call before it",
                )
    return messages


def _calls_or_more(message: Mapping[str, Any]) -> bool:
    return any(message.get(key) for key in ("tool_calls", "function_call", "refusal", "audio"))


def _check_content(message: Mapping[str, Any], where: str) -> None:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise RuleBroken("bad_message", f"{where}.content is neither text nor a list of parts")
    for part in content:
        if not isinstance(part, str) and not (isinstance(part, dict) and isinstance(part.get("type"), str)):
            raise RuleBroken("bad_message", f"{where}.content has a part without a type")


def _check_calls(message: Mapping[str, Any], where: str, *, arguments_too: bool = True) -> set[str]:
    """The ids of a message's tool calls, all of which are function calls with arguments that are JSON objects."""
    ids: set[str] = set()
    calls = message.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise RuleBroken("tool_call_not_function", f"{where}.tool_calls is no list")
    for position, call in enumerate(calls or ()):
        if not is_function_call(call):
            here = f"{where}.tool_calls[{position}]"
            raise RuleBroken("tool_call_not_function", f"{here} is not a call of a named function")
        if arguments_too:
            _parsed(call["function"].get("arguments"), f"{where}.tool_calls[{position}].function")
        if isinstance(call.get("id"), str):
            ids.add(call["id"])
    legacy = message.get("function_call")
    if legacy is not None:
        if not isinstance(legacy, dict) or not isinstance(legacy.get("name"), str) or not legacy["name"]:
            raise RuleBroken(
                "tool_call_not_function", f"{where}.function_call is not a call of a named function"
            )
        if arguments_too:
            _parsed(legacy.get("arguments"), f"{where}.function_call")
    return ids


def parsed_calls(answer: Mapping[str, Any]) -> list[ToolCall]:
    """The calls of an answer that passed `check_answer`, their arguments as objects."""
    return [
        ToolCall(call.id, call.name, _parsed(call.arguments, f"call {position} of the answer, {call.name}"))
        for position, call in enumerate(tool_calls(answer), 1)
    ]


def _parsed(arguments: Any, where: str) -> dict[str, Any]:
    try:
        return parse_arguments(arguments)
    except DataError as error:
        raise RuleBroken("arguments_not_json", f"{where}: {error}") from error


def check_answer(response: Mapping[str, Any], *, refuse_truncated: bool) -> int:
    """The position of the choice that is used, if the answer follows the rules."""
    choices = response.get("choices")
    if not choices and response.get("error"):
        raise RuleBroken("errored_response", f"the response is an error: {_shown(response['error'])}")
    if not isinstance(choices, list) or not choices:
        raise RuleBroken("no_answer", "response.choices is absent, empty or no list")
    choice = answer_choice(response)
    if choice is None:
        raise _why_nothing(choices, refuse_truncated)
    chosen = choices[choice]
    where = f"response.choices[{choice}]"
    if refuse_truncated and is_cut_off(chosen):
        raise RuleBroken("truncated_answer", f"{where}.finish_reason is {_shown(chosen['finish_reason'])}")
    message = chosen["message"]
    if message.get("role", "assistant") not in ("assistant", None):
        raise RuleBroken("bad_role", f"{where}.message has the role {_shown(message['role'])}")
    _check_content(message, f"{where}.message")
    _check_calls(message, f"{where}.message", arguments_too=False)  # `parsed_calls` follows
    return choice


def _why_nothing(choices: Sequence[Any], refuse_truncated: bool) -> RuleBroken:
    whole = [choice for choice in choices if isinstance(choice, dict)]
    messages = [choice["message"] for choice in whole if isinstance(choice.get("message"), dict)]
    if not messages:
        return RuleBroken("no_answer", "no choice of the response has a message")
    if any(_refuses(message) for message in messages):
        return RuleBroken("refused_answer", "the model declined to answer (refusal)")
    if refuse_truncated and all(is_cut_off(choice) for choice in whole):
        return RuleBroken("truncated_answer", "the answer was cut off before it said anything")
    return RuleBroken("empty_answer", "no choice of the response has content or tool calls")


def _refuses(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    return bool(message.get("refusal")) or any(isinstance(p, dict) and p.get("refusal") for p in parts)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
