"""Evaluation items: one logged call each, with what it stands for.

A row is `{"id", "request", "response", "cluster", "weight"}`; request and response are as logged, all choices
included, but for the form of tool-call arguments, which is the same in the response and in the history.
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
) -> dict[str, Any]:
    """One row; request and response are left as they are.

    Args:
        cluster: Name of the group of dependent records that the call comes from.
        weight: Logged calls that this one stands for, itself included.
        parse_function_arguments: Arguments as JSON objects, else as the JSON strings of the API.
    """
    convert = with_arguments_as_objects if parse_function_arguments else with_arguments_as_strings
    return {
        "id": record_id,
        "request": convert(request),
        "response": convert(response),
        "cluster": cluster,
        "weight": weight,
    }


def encode_line(row: Mapping[str, Any]) -> bytes:
    """A row as one line of JSON, the line feed included."""
    return _ENCODER.encode(row) + b"\n"
