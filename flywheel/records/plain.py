"""JSON values in the one form that their spellings share."""

from __future__ import annotations

from typing import Any

import msgspec

HASH_BYTES = 16

encode_deterministic = msgspec.json.Encoder(order="deterministic").encode
"""A value as JSON with sorted keys and without white space."""


def plain_value(value: Any) -> Any:
    """A JSON value with whole numbers written as such: 1.0 becomes 1, at any depth."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, dict):
        return {key: plain_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain_value(inner) for inner in value]
    return value
