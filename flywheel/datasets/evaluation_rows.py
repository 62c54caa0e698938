"""Evaluation items: one logged call each, with what it stands for.

A row is `{"id", "request", "response", "cluster", "weight"}`; request and response are as logged, all choices
included, but for the form of tool-call arguments, which is the same in the response and in the history. Where the log
names the conversation, the row has `conversation` and, where it is known, `timestamp` as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flywheel.records.arguments import with_arguments_as_objects, with_arguments_as_strings

_ENCODER = msgspec.json.Encoder()


def evaluation_row(
    record_id: str,
    request: Mapping[str, Any],
    response: Mapping[str, Any],
    cluster: str,
    weight: int,
    parse_function_arguments: bool,
    conversation: str | None = None,
    timestamp: float | None = None,
) -> dict[str, Any]:
    """One row; request and response are left as they are.

    Args:
        cluster: Name of the group of dependent records that the call comes from.
        weight: Logged calls that this one stands for, itself included.
        parse_function_arguments: Arguments as JSON objects, else as the JSON strings of the API.
        conversation: The log's id of the conversation that the call is a step of.
        timestamp: When it was asked, in seconds since 1970.
    """
    convert = with_arguments_as_objects if parse_function_arguments else with_arguments_as_strings
    row = {
        "id": record_id,
        "request": convert(request),
        "response": convert(response),
        "cluster": cluster,
        "weight": weight,
    }
    if conversation is not None:
        row["conversation"] = conversation
        if timestamp is not None:
            row["timestamp"] = timestamp
    return row


def encode_line(row: Mapping[str, Any]) -> bytes:
    """A row as one line of JSON, the line feed included."""
    return _ENCODER.encode(row) + b"\n"
