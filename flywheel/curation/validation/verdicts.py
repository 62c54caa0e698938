"""What validation decides about a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flywheel.records.frames import Frame
from flywheel.records.messages import ToolCall
from flywheel.records.openings import Opening


class Keep(msgspec.Struct, frozen=True):
    """A usable call.

    `violations` are sentences on tool calls that break their tool's schema; `unusable_schemas` names the
    called tools whose schema cannot be checked against.
    """

    messages: Sequence[Mapping[str, Any]]  # those behind the opening's, if there is one
    frame: Frame  # the request without them
    opening: Opening | None
    response: Mapping[str, Any]
    choice: int
    choices: int
    answer: Mapping[str, Any]
    calls: Sequence[ToolCall]  # of the answer, arguments as objects
    violations: Sequence[str] = ()
    unusable_schemas: Sequence[str] = ()


class Drop(msgspec.Struct, frozen=True):
    """A refused record: a reason code and a sentence."""

    reason: str
    detail: str


REASONS = {
    "not_json": "the line or a payload is not a JSON object",
    "not_utf8": "the line is not UTF-8",
    "too_large": "the line is longer than validation_config.max_record_bytes",
    "truncated_file": "a file ends too early or is damaged; what came before is used",
    "missing_request": "there is no request object",
    "missing_response": "there is no response object",
    "missing_workload_id": "the record names no workload",
    "missing_client_id": "the record names no client",
    "bad_timestamp": "the time cannot be read, or is not between 2000 and 2099",
    "no_messages": "the request has no messages",
    "bad_message": "a message has no usable content",
    "bad_role": "a message has a role that the API does not know",
    "bad_tools": "the request's tools are no list of tools, or one is a function without a name",
    "no_answer": "the response has no choices",
    "empty_answer": "no choice has content or tool calls",
    "truncated_answer": "the answer was cut off",
    "incomplete_answer": "the exporter says that the answer was not read or not sent to its end",
    "cut_payload": "the exporter says that it cut long text out of the payloads",
    "refused_answer": "the model declined to answer",
    "errored_response": "the response is an error",
    "tool_call_not_function": "a tool call is not a call of a named function",
    "arguments_not_json": "a tool call's arguments are not a JSON object",
    "arguments_break_schema": "a tool call breaks its tool's JSON Schema",
    "erased": "the record was erased on request; its content is not kept",
    "tool_call_id_unmatched": "a tool's result answers no call before it",
}
"""The reason codes of reading and validation."""
