"""One record as an in-context example: what it looks like in a prompt.

As chat turns an example is its own history and answer, system messages left out. Its tool-call ids are made
anew, nine letters and digits long (the strictest template wants that), so that two examples never share one;
and calls of the answer get a short tool message each, because a call without a result breaks the chat
protocol. Templates that also insist on an assistant turn after a tool result need the placement
"system_text".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flywheel.datasets.training_rows import trainer_answer, trainer_messages
from flywheel.records.messages import SYSTEM_ROLES, message_text

RESULT_OF_AN_EXAMPLE = "OK"
TEXT_HEADING = "Examples of how requests were answered:"

Message = dict[str, Any]


def example_turns(
    messages: Sequence[Mapping[str, Any]], answer: Mapping[str, Any], parse_function_arguments: bool
) -> list[Message]:
    """The turns of one example, tool-call ids as logged.

    Args:
        messages: The logged request's messages; system and developer messages are left out.
        answer: The production answer.
    """
    own = [message for message in messages if message.get("role") not in SYSTEM_ROLES]
    turns = [
        *trainer_messages(own, parse_function_arguments),
        trainer_answer(answer, parse_function_arguments),
    ]
    for call in turns[-1].get("tool_calls", ()):
        turns.append({"role": "tool", "tool_call_id": call["id"], "content": RESULT_OF_AN_EXAMPLE})
    return turns


def with_own_ids(turns: Sequence[Message], number: int) -> list[Message]:
    """The turns with tool-call ids that belong to example `number` alone; calls and results still pair."""
    new_ids: dict[str, str] = {}
    renamed: list[Message] = []
    for turn in turns:
        turn = dict(turn)
        if "tool_calls" in turn:
            calls: list[Message] = []
            for call in turn["tool_calls"]:
                new_ids[call["id"]] = f"ex{number:03}{len(renamed):02}{len(calls):02}"[:9]
                calls.append({**call, "id": new_ids[call["id"]]})
            turn["tool_calls"] = calls
        elif turn.get("role") == "tool":
            turn["tool_call_id"] = new_ids.get(turn.get("tool_call_id", ""), f"ex{number:03}0000")
        renamed.append(turn)
    return renamed


def insert_turns(messages: Sequence[Message], examples: Sequence[Sequence[Message]]) -> list[Message]:
    """The messages of an item with examples between its leading system messages and its own."""
    own = _leading_system(messages)
    turns = [
        turn for number, example in enumerate(examples, start=1) for turn in with_own_ids(example, number)
    ]
    return [*messages[:own], *turns, *messages[own:]]


def example_text(turns: Sequence[Message]) -> str:
    """One example as text: a line `role: what was said` for each turn, the made-up tool results left out."""
    lines = []
    for position, turn in enumerate(turns):
        if turn["role"] == "tool" and all(later["role"] == "tool" for later in turns[position:]):
            break
        lines.append(f"{turn['role']}: {_said(turn)}")
    return "\n".join(lines)


def append_text(messages: Sequence[Message], examples: Sequence[str]) -> list[Message]:
    """The messages of an item with examples at the end of its first system message, which is made if absent."""
    numbered = [f"Example {number}\n{text}" for number, text in enumerate(examples, start=1)]
    block = "\n\n".join([TEXT_HEADING, *numbered])
    if not _leading_system(messages):
        return [{"role": "system", "content": block}, *messages]
    first = messages[0]
    content = first.get("content")
    if isinstance(content, list):
        content = [*content, {"type": "text", "text": block}]
    else:
        content = f"{content}\n\n{block}" if content else block
    return [{**first, "content": content}, *messages[1:]]


def _leading_system(messages: Sequence[Message]) -> int:
    count = 0
    while count < len(messages) and messages[count].get("role") in SYSTEM_ROLES:
        count += 1
    return count


def _said(turn: Message) -> str:
    # Calls are shown as JSON, the form that models without a tool template are asked to answer in.
    text = message_text({"content": turn.get("content")})
    calls = [
        json.dumps(
            {"name": call["function"]["name"], "arguments": _as_object(call["function"].get("arguments"))},
            ensure_ascii=False,
        )
        for call in turn.get("tool_calls", ())
    ]
    return "\n".join(part for part in (text, *calls) if part)


def _as_object(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
