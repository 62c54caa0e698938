"""Which part of a chat completion is the answer, and what kind of answer it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.records.messages import ToolCall, content_text, tool_calls

NO_TOOL = "no_tool"
CUT_OFF = frozenset({"length", "content_filter"})
"""Values of `finish_reason` that mean the answer is not whole."""


def answer_choice(response: Mapping[str, Any]) -> int | None:
    """Position in `choices` of the answer that is used; None where no choice says anything.

    The first choice with content or tool calls that was not cut off; if each of them was, the first of those.
    """
    cut_off = None
    choices = response.get("choices")
    for position, choice in enumerate(choices if isinstance(choices, list) else ()):
        if isinstance(choice, dict) and says_something(choice.get("message")):
            if not is_cut_off(choice):
                return position
            cut_off = position if cut_off is None else cut_off
    return cut_off


def answer_message(response: Mapping[str, Any], choice: int | None = None) -> dict[str, Any] | None:
    """The assistant message of the answer, or None; `choice` if `answer_choice` gave it already."""
    position = answer_choice(response) if choice is None else choice
    if position is None:
        return None
    message: dict[str, Any] = response["choices"][position]["message"]
    return message


def says_something(message: Any) -> bool:
    """Whether a message holds text other than white space, or a tool call of any kind."""
    if not isinstance(message, dict):
        return False
    if message.get("tool_calls") or message.get("function_call"):
        return True
    content = message.get("content")
    if isinstance(content, list):
        content = [part for part in content if not (isinstance(part, dict) and part.get("type") == "refusal")]
    return bool(content_text(content).strip())


def is_cut_off(choice: Mapping[str, Any]) -> bool:
    """Whether the answer ended before the model was done: out of tokens, or stopped by a filter."""
    reason = choice.get("finish_reason")
    return isinstance(reason, str) and reason in CUT_OFF


def answer_class(message: Mapping[str, Any]) -> str:
    """The distinct names of the tools called, sorted and joined by "+", or "no_tool"."""
    return class_of(tool_calls(message))


def class_of(calls: Sequence[ToolCall]) -> str:
    """The same of tool calls that were taken from their message before."""
    return "+".join(sorted({call.name for call in calls})) or NO_TOOL
