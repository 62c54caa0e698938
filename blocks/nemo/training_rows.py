"""Training rows in the form that the Customizer takes; what it cannot take is left out and counted by reason.

These are limits of one platform: a record that they leave out stays valid for everything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from flywheel.errors import DataError, DatasetError
from flywheel.records.arguments import arguments_as_object
from flywheel.token_counters import chat_tokens
from flywheel.tokens import TokenCounter

MOST_TOOL_PARAMETERS = 8
TOO_MANY_PARAMETERS = f"a tool with more than {MOST_TOOL_PARAMETERS} parameters"
NOT_AN_OBJECT = "tool-call arguments that are no JSON object"
NOT_TEXT = "content that is not text"
NO_ANSWER = "no assistant message at the end"
EMPTY_ANSWER = "an answer with neither content nor tool calls"
ROLES = frozenset({"system", "user", "assistant", "tool"})

_ENCODER = msgspec.json.Encoder()


class UnusableRow(Exception):
    """The row cannot be written for this platform; the text is the reason."""


class PreparedRows(NamedTuple):
    """How many rows were written, and how many were left out by reason."""

    rows: int
    skipped: dict[str, int]


def prepare_file(source: Path, target: Path, counter: TokenCounter, longest: int) -> PreparedRows:
    """Rewrite a JSONL file of training rows for the platform, one row at a time. A missing file has no rows.

    Rows of more than `longest` tokens are left out: the platform would cut them at their end, where the answer is.

    Raises: DatasetError where a line is no training row.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    skipped: Counter[str] = Counter()
    rows = 0
    with target.open("wb") as out:
        if source.is_file():
            with source.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.strip():
                        continue
                    try:
                        row = msgspec.json.decode(line, type=dict)
                    except (msgspec.DecodeError, RecursionError) as error:
                        raise DatasetError(
                            f"{source.name}, line {number}: not a training row ({error}). Build it again."
                        ) from error
                    try:
                        prepared = prepare_row(row)
                        if chat_tokens(prepared["messages"], prepared.get("tools"), counter) > longest:
                            raise UnusableRow(
                                f"more than {longest:,} tokens (training_config.max_seq_length)"
                            )
                        out.write(_ENCODER.encode(prepared) + b"\n")
                        rows += 1
                    except UnusableRow as reason:
                        skipped[str(reason)] += 1
    return PreparedRows(rows, dict(skipped))


def require_rows(prepared: PreparedRows) -> None:
    """Raises: DataError where nothing is left to train on, with the reasons."""
    if prepared.rows:
        return
    reasons = "; ".join(f"{count} have {reason}" for reason, count in prepared.skipped.items())
    raise DataError(f"NeMo cannot train on any of the rows: {reasons or 'there are none'}.")


def prepare_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row as the Customizer wants it; the row itself is not changed.

    Content is always text: parts of text are joined, null becomes empty. Arguments are JSON objects. A row without
    tools has no `tools` key.

    Raises: UnusableRow where it cannot be said in this form.
    """
    messages = [_message(message) for message in row.get("messages") or []]
    if not messages or messages[-1]["role"] != "assistant":
        raise UnusableRow(NO_ANSWER)
    if not messages[-1]["content"] and not messages[-1].get("tool_calls"):
        raise UnusableRow(EMPTY_ANSWER)
    tools = row.get("tools") or []
    if any(_parameters(tool) > MOST_TOOL_PARAMETERS for tool in tools):
        raise UnusableRow(TOO_MANY_PARAMETERS)
    return {"messages": messages} | ({"tools": tools} if tools else {})


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    role = "system" if message.get("role") == "developer" else message.get("role")
    if role not in ROLES:
        raise UnusableRow(f"a message of the role {role!r}")
    result: dict[str, Any] = {"role": role, "content": _text(message.get("content"))}
    if role == "tool" and message.get("tool_call_id"):
        result["tool_call_id"] = message["tool_call_id"]
    if calls := message.get("tool_calls"):
        result["tool_calls"] = [_call(call) for call in calls]
    return result


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise UnusableRow(NOT_TEXT)
    texts = []
    for part in content:
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, Mapping) else None
        if not isinstance(text, str):
            raise UnusableRow(NOT_TEXT)
        texts.append(text)
    return "\n".join(texts)


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = arguments_as_object(function.get("arguments"))
    if not isinstance(arguments, dict):
        raise UnusableRow(NOT_AN_OBJECT)
    named = {"name": function.get("name"), "arguments": arguments}
    return {"id": call.get("id") or "", "type": "function", "function": named}


def _parameters(tool: Any) -> int:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    schema = function.get("parameters") if isinstance(function, Mapping) else None
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return len(properties) if isinstance(properties, Mapping) else 0
