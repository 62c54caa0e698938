"""One line of a log: typed where we know the field, raw where nobody has to look yet.

Reading a line touches the payloads only to find where they end, which makes it cheap to leave out the lines
of other workloads. Fields that we do not know, and known ones of an unusable type, are kept in `extra`.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from flywheel.errors import DataError
from flywheel.records.timestamps import to_seconds


class LogLine(msgspec.Struct):
    """A logged call. Absent fields are None; so are request and response that are not JSON objects.

    `timestamp` is in seconds since 1970, UTC; one that is no time stays in `extra` as it was. `request`,
    `response` and `extra` are JSON objects as bytes.
    """

    id: str | None = None
    timestamp: float | None = None
    workload_id: str | None = None
    client_id: str | None = None
    conversation_id: str | None = None
    description: str | None = None
    latency_ms: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    request: bytes | None = None
    response: bytes | None = None
    extra: bytes | None = None


class Unreadable(msgspec.Struct, frozen=True):
    """Why a line is no record: a reason code and a sentence."""

    reason: str
    detail: str


class WireLine(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of a line as they were written, before anything is made of them."""

    id: Any = None
    timestamp: Any = None
    workload_id: Any = None
    client_id: Any = None
    conversation_id: Any = None
    description: Any = None
    latency_ms: Any = None
    tokens_in: Any = None
    tokens_out: Any = None
    request: msgspec.Raw = msgspec.Raw()
    response: msgspec.Raw = msgspec.Raw()


KNOWN = frozenset(WireLine.__struct_fields__)
Unknown = dict[str, msgspec.Raw]

_known_only = msgspec.json.Decoder(WireLine)
_anything = msgspec.json.Decoder(Unknown)


def read_line(line: bytes) -> tuple[WireLine, Unknown] | Unreadable:
    """A line's known fields and its other ones; white space around it and a line end are fine."""
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return Unreadable("not_utf8", f"byte {error.start + 1} of the line is not UTF-8")
    try:
        return _known_only.decode(line), {}
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, RecursionError) as error:
        return Unreadable("not_json", _reason_of(error))
    try:
        fields = _anything.decode(line)
    except msgspec.ValidationError:
        return Unreadable("not_json", "the line is JSON, but not an object; each line has to hold one record")
    except (msgspec.DecodeError, RecursionError) as error:
        return Unreadable("not_json", _reason_of(error))
    try:
        return wire_line(fields)
    except (msgspec.DecodeError, RecursionError) as error:
        return Unreadable("not_json", _reason_of(error))


def wire_line(fields: Unknown) -> tuple[WireLine, Unknown]:
    """Known and other fields, of a line that was read as raw fields. Raises msgspec.DecodeError."""
    known: dict[str, Any] = {}
    unknown = {}
    for name, raw in fields.items():
        if name not in KNOWN:
            unknown[name] = raw
        elif name in ("request", "response"):
            known[name] = raw
        else:
            known[name] = msgspec.json.decode(raw)
    return WireLine(**known), unknown


def typed_line(wire: WireLine, unknown: Unknown) -> LogLine:
    """The record that a line holds. What does not fit its field goes to `extra`, so that nothing is lost."""
    misfits: dict[str, Any] = {}
    timestamp = wire.timestamp
    if timestamp is not None:
        try:
            timestamp = to_seconds(timestamp)
        except DataError:
            misfits["timestamp"], timestamp = timestamp, None
    line = LogLine(
        identifier(wire.id),
        timestamp,
        identifier(wire.workload_id),
        identifier(wire.client_id),
        identifier(wire.conversation_id),
        wire.description if isinstance(wire.description, str) else None,
        _number(wire.latency_ms),
        _count(wire.tokens_in),
        _count(wire.tokens_out),
        _object(wire.request),
        _object(wire.response),
    )
    for name in _SCALARS:
        value = getattr(wire, name)
        if value is not None and getattr(line, name) is None:
            misfits.setdefault(name, value)
    for name in ("request", "response"):
        raw = getattr(wire, name)
        if getattr(line, name) is None and bytes(raw) not in (b"", b"null"):
            misfits[name] = raw
    if misfits or unknown:
        line.extra = msgspec.json.encode({**unknown, **misfits})
    return line


_SCALARS = (
    "id",
    "workload_id",
    "client_id",
    "conversation_id",
    "description",
    "latency_ms",
    "tokens_in",
    "tokens_out",
)


def identifier(value: Any) -> str | None:
    """An id as text: numbers are written out; a blank one, and any other type, is none."""
    if type(value) is str:
        return value if value.strip() else None
    return str(value) if type(value) is int and abs(value) < 2**64 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) and number < 2**63 else None


def _object(raw: msgspec.Raw) -> bytes | None:
    """The bytes of a JSON object, also of one that was written as a JSON string."""
    text = bytes(raw)
    if text[:1] == b"{":
        return text
    if text[:1] == b'"':  # some exporters write the payload as text
        try:
            inner = msgspec.json.decode(text, type=str).strip().encode()
            if inner[:1] == b"{":
                msgspec.json.decode(inner)
                return inner
        except (msgspec.DecodeError, RecursionError):
            pass
    return None


def _reason_of(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
