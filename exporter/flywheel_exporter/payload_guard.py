"""Keeping one huge payload from filling the log.

Policy: every string of request and response that is longer than the limit is cut to its beginning, and a mark says how
much is gone. If the record is still too large, the limit is quartered until it fits. The paths of what was cut stand
in the record's `truncated`; Flywheel counts such records and does not learn from them.
"""

from __future__ import annotations

import json
from typing import Any

LEAST = 64  # characters of a string below which cutting it further is no use
PAYLOADS = ("request", "response")


class TooLarge(Exception):
    """Cutting strings did not bring the record below its limit."""


def encode_within(record: dict[str, Any], most_characters: int, most_bytes: int) -> tuple[bytes, bool]:
    """The record as JSON on one line of at most `most_bytes`, and whether strings were cut for it.

    Raises: TooLarge; TypeError, ValueError, RecursionError if it cannot be JSON at all.
    """
    data = _encode(record)
    if len(data) <= min(
        most_characters, most_bytes
    ):  # nearly every record: none of its strings can be longer
        return data, False
    limit = most_characters
    while True:
        cut: list[dict[str, Any]] = []
        kept = {key: _cut(record[key], limit, key, cut) for key in PAYLOADS if key in record}
        data = _encode({**record, "truncated": cut, **kept} if cut else record)
        if len(data) <= most_bytes:
            return data, bool(cut)
        limit //= 4
        if limit < LEAST:
            raise TooLarge


def _cut(value: Any, limit: int, path: str, cut: list[dict[str, Any]]) -> Any:
    if isinstance(value, str):
        if len(value) <= limit:
            return value
        cut.append({"path": path, "characters": len(value), "kept": limit})
        return f"{value[:limit]}…[cut: {len(value) - limit} more characters]"
    if isinstance(value, dict):
        return {key: _cut(inner, limit, f"{path}.{key}", cut) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cut(inner, limit, f"{path}[{i}]", cut) for i, inner in enumerate(value)]
    return value


def _encode(record: dict[str, Any]) -> bytes:
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can write
        return json.dumps(record, allow_nan=False, separators=(",", ":")).encode()
