"""The logged request, made ready to be asked of another model.

What decides an answer is sent as it was logged. What only concerns transport, billing or bookkeeping is left out
without a word. Every other difference between what was logged and what is sent is an override, and is recorded.
Calls in the spelling of the older API (`functions`, `function_call`) go out as tools: servers of open models know no
other, and a model is trained on rows that have them so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from flywheel.config import EvaluationConfig
from flywheel.datasets.training_rows import trainer_messages
from flywheel.errors import DataError
from flywheel.records.arguments import with_arguments_as_strings

REPLAYED = frozenset(
    {
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "response_format",
        "seed",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "reasoning_effort",
    }
)
"""Fields of the chat protocol that decide the answer and that other models understand."""

WITHOUT_EFFECT = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "store",
        "metadata",
        "user",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "logprobs",
        "top_logprobs",
        "n",
    }
)
"""Fields that do not change what the first choice says. Answers are asked for one at a time and not streamed."""

_BOUNDS = ("max_completion_tokens", "max_tokens")


class Replay(NamedTuple):
    """A request body, and what in it is not as it was logged.

    `overrides` maps a field to the value sent, to None where a field was left out because it belongs to one
    vendor's API.
    """

    body: dict[str, Any]
    overrides: dict[str, Any]


def replay(request: Mapping[str, Any], model: str, config: EvaluationConfig) -> Replay:
    """The body to send for a logged request; the request itself is not changed.

    Fields logged as null count as absent. Tool-call arguments of the history go out as the JSON strings that the
    protocol wants.

    Raises: DataError where there are no messages.
    """
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise DataError("an evaluation item has no messages to ask; build the dataset again.")
    body: dict[str, Any] = {"model": model}
    overrides: dict[str, Any] = {}
    for field, value in _with_tools(request, messages).items():
        if value is None or field in WITHOUT_EFFECT:
            continue
        if field in REPLAYED:
            body[field] = value
        else:
            overrides[field] = None
    on_the_wire = with_arguments_as_strings({"messages": body["messages"]})["messages"]
    body["messages"] = [_message(message) for message in on_the_wire]
    if not body.get(
        "tools", True
    ):  # an empty list is refused by the protocol, and so is a choice among nothing
        for field in ("tools", "tool_choice", "parallel_tool_calls"):
            body.pop(field, None)
    if config.temperature is not None and body.get("temperature") != config.temperature:
        body["temperature"] = overrides["temperature"] = config.temperature
    bound = next((field for field in _BOUNDS if field in body), "max_tokens")
    if config.max_tokens is not None and body.get(bound) != config.max_tokens:
        body[bound] = overrides[bound] = config.max_tokens
    elif bound not in body:
        body[bound] = overrides[bound] = config.default_max_tokens
    return Replay(body, overrides)


def _with_tools(request: Mapping[str, Any], messages: list[Any]) -> dict[str, Any]:
    """The request with `tools`, `tool_choice` and `tool_calls` for what the older API called otherwise."""
    new = {field: value for field, value in request.items() if field not in ("functions", "function_call")}
    functions, choice = request.get("functions"), request.get("function_call")
    if functions and not new.get("tools"):
        new["tools"] = [{"type": "function", "function": function} for function in functions]
        if choice is not None:
            new["tool_choice"] = (
                choice if isinstance(choice, str) else {"type": "function", "function": choice}
            )
    if any(
        isinstance(message, Mapping) and (message.get("function_call") or message.get("role") == "function")
        for message in messages
    ):
        new["messages"] = trainer_messages(messages, parse_function_arguments=False)
    return new


def summary_of_overrides(overrides: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Overrides of many items as one: for each field, in how many items, and the values that were sent (first ten)."""
    found: dict[str, Any] = {}
    for of_item in overrides:
        for field, value in of_item.items():
            entry = found.setdefault(field, {"items": 0, "sent": []})
            entry["items"] += 1
            if value not in entry["sent"] and len(entry["sent"]) < 10:
                entry["sent"].append(value)
    return found


def _message(message: Any) -> Any:
    """A message without the nulls that logs are full of and strict servers refuse; `content` may be null."""
    if not isinstance(message, Mapping):
        return message
    return {key: value for key, value in message.items() if value is not None or key == "content"}
