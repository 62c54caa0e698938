"""Training rows as a provider takes them: converted to its form, held against its rules, before anything is uploaded.

A row that breaks a rule is left out and counted with its reason. The record it was made from stays as good as it was:
these are one provider's limits.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from flywheel.errors import DatasetError, TooFewRecordsError
from flywheel.records.arguments import arguments_as_string
from flywheel.token_counters import chat_tokens
from flywheel.tokens import TokenCounter

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ProviderRules(NamedTuple):
    """What a provider takes. Sizes in bytes and tokens; the numbers are those of OpenAI's own service."""

    fewest_rows: int = 10
    most_bytes: int = 512_000_000
    most_row_tokens: int = 65_536
    most_tools: int = 128


class TrainingFile(NamedTuple):
    """A file that is ready to be uploaded, and what was left out of it by reason."""

    path: Path
    sha256: str
    rows: int
    left_out: dict[str, int]


def write_training_file(
    source: Path, target: Path, rules: ProviderRules, counter: TokenCounter, longest: int
) -> TrainingFile:
    """Write the usable rows of `source` to `target`, a row at a time. A missing source has no rows.

    Args:
        source: Lines of `{"messages", "tools"}`, the last message being the answer.
        longest: Tokens of a row at most, if that is less than the provider takes.

    Raises:
        DatasetError: A line is no row.
    """
    longest = min(longest, rules.most_row_tokens)
    digest = hashlib.sha256()
    left_out: Counter[str] = Counter()
    rows = size = 0
    with target.open("wb") as out:
        for row in _rows(source):
            converted = converted_row(row)
            reason = broken_rule(converted, rules, counter, longest)
            line = msgspec.json.encode(converted) + b"\n"
            if reason is None and size + len(line) > rules.most_bytes:
                reason = f"beyond the provider's largest file ({rules.most_bytes:,} bytes)"
            if reason is not None:
                left_out[reason] += 1
                continue
            out.write(line)
            digest.update(line)
            rows, size = rows + 1, size + len(line)
    return TrainingFile(target, digest.hexdigest(), rows, dict(sorted(left_out.items())))


def require_enough(file: TrainingFile, rules: ProviderRules) -> None:
    """Raises: TooFewRecordsError where the provider would refuse the file for its number of rows."""
    if file.rows >= rules.fewest_rows:
        return
    reasons = "; ".join(f"{count} rows: {reason}" for reason, count in file.left_out.items())
    raise TooFewRecordsError(
        f"The provider trains on {rules.fewest_rows} rows or more, and {file.rows} are usable"
        f"{f' ({reasons})' if reasons else ''}. Add records, or raise training_config.max_seq_length."
    )


def converted_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row in the API's own form: arguments as JSON strings, no empty list of tools, no empty text beside calls."""
    messages = []
    for message in row.get("messages") or ():
        message = dict(message) if isinstance(message, Mapping) else {}
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls:
            message["tool_calls"] = [_call(call) for call in calls]
            if not message.get("content"):
                message.pop("content", None)
        messages.append(message)
    converted: dict[str, Any] = {"messages": messages}
    if row.get("tools"):
        converted["tools"] = row["tools"]
    return converted


def broken_rule(
    row: Mapping[str, Any], rules: ProviderRules, counter: TokenCounter, longest: int
) -> str | None:
    """The first rule that a converted row breaks, in words; None where it is fine."""
    messages = row["messages"]
    if len(messages) < 2 or messages[-1].get("role") != "assistant":
        return "does not end with an answer after at least one other message"
    if not messages[-1].get("content") and not messages[-1].get("tool_calls"):
        return "has an empty answer"
    tools = row.get("tools") or []
    if len(tools) > rules.most_tools:
        return f"has more than {rules.most_tools} tools"
    if not all(_NAME.fullmatch(_name_of(tool)) for tool in tools):
        return "has a tool whose name is not 1 to 64 letters, digits, '_' or '-'"
    waiting: set[Any] = set()
    for message in messages:
        if message.get("role") not in _ROLES:
            return "has a message with a role that the provider does not know"
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                return "has a tool result that belongs to no call"
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            return "has a tool call without a result"
        calls = message.get("tool_calls") or []
        if not all(_NAME.fullmatch(_name_of(call)) for call in calls):
            return "calls a tool whose name is not 1 to 64 letters, digits, '_' or '-'"
        waiting = {call.get("id") for call in calls}
    if chat_tokens(messages, tools, counter) > longest:
        return f"longer than {longest:,} tokens"
    return None


def _call(call: Any) -> Any:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return call
    return {
        **call,
        "function": {**function, "arguments": arguments_as_string(function.get("arguments"))},
    }


def _name_of(entry: Any) -> str:
    function = entry.get("function") if isinstance(entry, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""


def _rows(path: Path) -> Any:
    if not path.is_file():
        return
    decoder = msgspec.json.Decoder(dict[str, Any])
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError as error:
                raise DatasetError(
                    f"{path.name}, line {number}: not a training row ({error}). Build it again."
                ) from error
