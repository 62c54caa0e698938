"""Records that real logs have and that nothing can be learnt from: ways to spoil a good one, by reason."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from flywheel.sample.calls import Json

OVERSIZED_BYTES = 4_100_000
"""Length of the oversized line: above the default of `validation_config.max_record_bytes`."""

Spoiler = Callable[[Json], Json | bytes]


def encoded(record: Json) -> bytes:
    """One line of the log, without its end."""
    return json.dumps(record, ensure_ascii=False).encode()


def _without(field: str) -> Spoiler:
    return lambda record: {key: value for key, value in record.items() if key != field}


def _with(*path: str | int, value: Any) -> Callable[[Json], Json]:
    """A spoiler that sets the field at a path."""

    def spoil(record: Json) -> Json:
        spoilt = copy.deepcopy(record)
        place: Any = spoilt
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return spoilt

    return spoil


def _answer(finish_reason: str = "stop", **message: Any) -> Spoiler:
    """A spoiler that replaces the answer message."""
    answer = {"role": "assistant", "content": None, **message}
    choices = [{"index": 0, "message": answer, "finish_reason": finish_reason}]
    return _with("response", "choices", value=choices)


def _tool_call(**call: Any) -> Spoiler:
    return _answer("tool_calls", tool_calls=[{"id": "call_1", **call}])


def _function(name: str, arguments: str) -> Spoiler:
    return _tool_call(type="function", function={"name": name, "arguments": arguments})


def _unanswered_tool_result(record: Json) -> Json:
    result = {"role": "tool", "tool_call_id": "call_that_never_was", "content": '{"status": "shipped"}'}
    return _with("request", "messages", value=[*record["request"]["messages"], result])(record)


def _cut_in_half(record: Json) -> bytes:
    line = encoded(record)
    return line[: len(line) // 2]


def _broken_encoding(record: Json) -> bytes:
    return encoded(record).replace(b"customers", b"caf\xe9 customers", 1)


def _oversized(record: Json) -> Json:
    pasted = {"role": "user", "content": "and here is my whole mailbox: " + "spam " * (OVERSIZED_BYTES // 5)}
    return _with("request", "messages", value=[*record["request"]["messages"], pasted])(record)


SPOILERS: tuple[tuple[str, Spoiler], ...] = (
    ("not_json", _cut_in_half),
    ("not_json", lambda record: b"2025-09-03 12:00:01 WARN exporter: buffer full, retrying in 5 s"),
    ("not_json", lambda record: b"[1, 2, 3]"),
    ("not_utf8", _broken_encoding),
    ("too_large", _oversized),
    ("missing_request", _without("request")),
    ("missing_request", _with("request", value=None)),
    ("missing_response", _without("response")),
    ("missing_workload_id", _without("workload_id")),
    ("missing_workload_id", _with("workload_id", value="")),
    ("missing_client_id", _without("client_id")),
    ("bad_timestamp", _with("timestamp", value="yesterday")),
    ("no_messages", _with("request", "messages", value=[])),
    ("bad_message", _with("request", "messages", 1, value="where is my parcel")),
    ("bad_message", _with("request", "messages", 1, "content", value=42)),
    ("bad_role", _with("request", "messages", 1, "role", value="customer")),
    ("no_answer", _with("response", "choices", value=[])),
    ("no_answer", _with("response", "choices", 0, "message", value=None)),
    ("empty_answer", _answer(content="")),
    ("empty_answer", _answer(content=" \n")),
    ("truncated_answer", _answer("length", content="I am sorry to hear that your parcel has not")),
    ("truncated_answer", _answer("content_filter", content="I am")),
    ("refused_answer", _answer(refusal="I cannot help with that.")),
    (
        "errored_response",
        _with("response", value={"error": {"message": "The server is overloaded", "type": "server_error"}}),
    ),
    ("tool_call_not_function", _tool_call(type="custom", custom={"name": "track_order", "input": "AC-1"})),
    ("arguments_not_json", _function("track_order", '{"order_id": "AC-11')),
    ("arguments_break_schema", _function("cancel_order", '{"order_id": "AC-11111", "reason": "bored"}')),
    ("arguments_break_schema", _function("find_store", "{}")),
    ("tool_call_id_unmatched", _unanswered_tool_result),
)
"""Reason code and how to get a record of that kind from a good one of the support router.

`arguments_break_schema` is refused only where the settings ask for it. Ids used twice (`duplicate_id`) are
not here: they take two records.
"""
