"""One line of a log: typed where we know the field, raw where nobody has to look yet.

Reading a line touches the payloads only to find where they end, which makes it cheap to leave out the lines
of other workloads. Fields that we do not know, and known ones of an unusable type, are kept in `extra`.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import msgspec

from flywheel.errors import DataError
from flywheel.records.timestamps import to_seconds

_Name = Annotated[str, msgspec.Meta(min_length=1)]
_Amount = Annotated[float, msgspec.Meta(ge=0)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Unknown = dict[str, msgspec.Raw]
NOTHING = msgspec.Raw()


class LogLine(NamedTuple):
    """A logged call. Absent fields are None; so are request and response that are not JSON objects.

    `timestamp` is in seconds since 1970, UTC; one that is no time stays in `extra` as it was. `request`,
    `response` and `extra` are JSON objects as bytes.
    """

    id: str | None
    timestamp: float | None
    workload_id: str | None
    client_id: str | None
    conversation_id: str | None
    description: str | None
    latency_ms: float | None
    tokens_in: int | None
    tokens_out: int | None
    request: bytes | None
    response: bytes | None
    extra: bytes | None = None


class Unreadable(msgspec.Struct, frozen=True):
    """Why a line is no record: a reason code and a sentence."""

    reason: str
    detail: str


class WireLine(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields that we know, as most logs write them. Payloads and times are not looked into."""

    id: _Name | None = None
    timestamp: int | float | str | None = None
    workload_id: _Name | None = None
    client_id: _Name | None = None
    conversation_id: _Name | None = None
    description: str | None = None
    latency_ms: _Amount | None = None
    tokens_in: _Count | None = None
    tokens_out: _Count | None = None
    request: msgspec.Raw = NOTHING
    response: msgspec.Raw = NOTHING
    time_to_first_token_ms: _Amount | None = None  # of streamed answers; known so that it costs nothing


class ReadLine(NamedTuple):
    """A line's known fields, and what stands beside them or does not fit them."""

    known: WireLine
    unknown: Unknown


_as_most = msgspec.json.Decoder(WireLine)
_anything = msgspec.json.Decoder(Unknown)
_FIRST_TOKEN = "time_to_first_token_ms"
_NAMES = ("id", "workload_id", "client_id", "conversation_id")
_TYPES: dict[str, Any] = {
    **dict.fromkeys(_NAMES, _Name | int | None),
    "timestamp": int | float | str | None,
    "description": str | None,
    "latency_ms": _Amount | None,
    "tokens_in": _Count | None,
    "tokens_out": _Count | None,
    _FIRST_TOKEN: _Amount | None,
}
_fields = {name: msgspec.json.Decoder(kind) for name, kind in _TYPES.items()}
PAYLOADS = ("request", "response")


def read_line(line: bytes) -> ReadLine | Unreadable:
    """What one line of a log holds; white space around it and a line end are fine."""
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return Unreadable("not_utf8", f"byte {error.start + 1} of the line is not UTF-8")
    try:
        return ReadLine(_as_most.decode(line), {})
    except msgspec.ValidationError:
        pass  # other fields, or other types: the slower way below tells which
    except (msgspec.DecodeError, RecursionError) as error:
        return Unreadable("not_json", _sentence(error))
    try:
        return read_fields(_anything.decode(line))
    except msgspec.ValidationError:
        return Unreadable("not_json", "the line is JSON, but not an object; each line has to hold one record")
    except (msgspec.DecodeError, RecursionError) as error:
        return Unreadable("not_json", _sentence(error))


def read_fields(fields: Unknown) -> ReadLine:
    """The same for a record that comes as raw JSON fields. Numbers are accepted as ids."""
    known: dict[str, Any] = {}
    unknown = {}
    for name, raw in fields.items():
        if name in PAYLOADS:
            known[name] = raw
        elif name in _fields:
            try:
                value = _fields[name].decode(raw)
            except msgspec.ValidationError:
                unknown[name] = raw
            else:
                known[name] = str(value) if name in _NAMES and value is not None else value
        else:
            unknown[name] = raw
    return ReadLine(WireLine(**known), unknown)


def typed_line(read: ReadLine) -> LogLine:
    """The record that a line holds. What does not fit its field goes to `extra`, so that nothing is lost."""
    wire, extra = read
    timestamp = wire.timestamp
    request, response = json_object(wire.request), json_object(wire.response)
    if timestamp is not None:
        try:
            timestamp = to_seconds(timestamp)
        except DataError:
            extra = {**extra, "timestamp": msgspec.Raw(msgspec.json.encode(timestamp))}
            timestamp = None
    if wire.time_to_first_token_ms is not None:
        extra = {**extra, _FIRST_TOKEN: msgspec.Raw(msgspec.json.encode(wire.time_to_first_token_ms))}
    if request is None or response is None:
        if request is None and _is_something(wire.request):
            extra = {**extra, "request": wire.request}
        if response is None and _is_something(wire.response):
            extra = {**extra, "response": wire.response}
    return LogLine(
        wire.id,
        timestamp,
        wire.workload_id,
        wire.client_id,
        wire.conversation_id,
        wire.description,
        wire.latency_ms,
        wire.tokens_in,
        wire.tokens_out,
        request,
        response,
        msgspec.json.encode(extra) if extra else None,
    )


def json_object(raw: msgspec.Raw) -> bytes | None:
    """The bytes of a JSON object, also of one that an exporter wrote as a JSON string; None for anything
    else.
    """
    text = bytes(raw)
    if text[:1] == b"{":
        return text
    if text[:1] == b'"':
        try:
            inner = msgspec.json.decode(text, type=str).strip().encode()
            _anything.decode(inner)
            return inner
        except (msgspec.DecodeError, RecursionError):
            pass
    return None


def _is_something(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null")


def _sentence(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
