"""OTLP in JSON, as the Collector's file exporter writes it: documents of spans, or of log events.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids are hexadecimal, 64-bit numbers are strings, and a
value stands under a key that names its type. A span is decoded by itself, so that a damaged one costs no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"resource(?:Spans|Logs)"')
LOOKED_AT = 512
"""Bytes of a file that tell whether it holds OTLP."""


class Status(msgspec.Struct):
    """How a span ended; `code` 2 or STATUS_CODE_ERROR is an error."""

    code: int | str = 0
    message: str = ""

    @property
    def failed(self) -> bool:
        """Whether the call failed."""
        return self.code in (2, "STATUS_CODE_ERROR")


class _AnyValue(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    bytes_value: str | None = None
    array_value: _Array | None = None
    kvlist_value: _Pairs | None = None


class _Array(msgspec.Struct):
    values: list[_AnyValue] = []


class _Pair(msgspec.Struct):
    key: str
    value: _AnyValue | None = None


class _Pairs(msgspec.Struct):
    values: list[_Pair] = []


class _Event(msgspec.Struct):
    name: str = ""
    attributes: list[_Pair] = []


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    name: str = ""
    start_time_unix_nano: int | str | None = None
    end_time_unix_nano: int | str | None = None
    attributes: list[_Pair] = []
    events: list[_Event] = []
    status: Status = msgspec.field(default_factory=Status)
    dropped_attributes_count: int = 0
    dropped_events_count: int = 0
    # of a log event
    event_name: str = ""
    time_unix_nano: int | str | None = None
    observed_time_unix_nano: int | str | None = None
    body: _AnyValue | None = None


class _Resource(msgspec.Struct):
    attributes: list[_Pair] = []


class _Scope(msgspec.Struct, rename="camel"):
    spans: list[msgspec.Raw] = []
    log_records: list[msgspec.Raw] = []


class _Source(msgspec.Struct, rename="camel"):
    resource: _Resource = msgspec.field(default_factory=_Resource)
    scope_spans: list[_Scope] = []
    scope_logs: list[_Scope] = []


class _Document(msgspec.Struct, rename="camel"):
    resource_spans: list[_Source] = []
    resource_logs: list[_Source] = []


class Event(msgspec.Struct):
    """Something that happened within a span."""

    name: str
    attributes: dict[str, Any]


class Span(msgspec.Struct):
    """A span, or a log event by itself, with plain values. Times are nanoseconds since 1970."""

    trace_id: str
    span_id: str
    name: str
    start: int | None
    end: int | None
    attributes: dict[str, Any]
    resource: dict[str, Any]
    events: list[Event]
    status: Status
    dropped: int = 0
    event_name: str | None = None  # of a log event


_document = msgspec.json.Decoder(_Document)
_span = msgspec.json.Decoder(_Span)


def looks_like_otlp(beginning: bytes) -> bool:
    """Whether a file that begins so holds OTLP."""
    return _BEGINNING.match(beginning) is not None


def raw_spans(document: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The spans and log events of a document as they stand there, each with its resource's attributes.

    Raises: msgspec.DecodeError, RecursionError where the document is none.
    """
    read = _document.decode(document)
    for source in read.resource_spans:
        resource = _plain_pairs(source.resource.attributes)
        for scope in source.scope_spans:
            for raw in scope.spans:
                yield bytes(raw), resource
    for source in read.resource_logs:
        resource = _plain_pairs(source.resource.attributes)
        for scope in source.scope_logs:
            for raw in scope.log_records:
                yield bytes(raw), resource


def span_of(raw: bytes, resource: dict[str, Any]) -> Span:
    """Raises: msgspec.DecodeError, ValueError, RecursionError where it is no span."""
    read = _span.decode(raw)
    events = [Event(event.name, _plain_pairs(event.attributes)) for event in read.events]
    attributes = _plain_pairs(read.attributes)
    is_event = read.time_unix_nano is not None or read.observed_time_unix_nano is not None
    if is_event:
        body = _plain(read.body)
        attributes = (body if isinstance(body, dict) else {}) | attributes
    return Span(
        read.trace_id,
        read.span_id,
        read.name,
        _nanoseconds(read.start_time_unix_nano)
        or _nanoseconds(read.time_unix_nano)
        or _nanoseconds(read.observed_time_unix_nano),
        _nanoseconds(read.end_time_unix_nano),
        attributes,
        resource,
        events,
        read.status,
        read.dropped_attributes_count + read.dropped_events_count,
        (read.event_name or str(attributes.get("event.name", ""))) if is_event else None,
    )


def _nanoseconds(written: int | str | None) -> int | None:
    return int(written) or None if written is not None else None


def _plain_pairs(pairs: list[_Pair]) -> dict[str, Any]:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: _AnyValue | None) -> Any:
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.array_value is not None:
        return [_plain(inner) for inner in value.array_value.values]
    if value.kvlist_value is not None:
        return _plain_pairs(value.kvlist_value.values)
    if value.int_value is not None:
        return int(value.int_value)
    if value.double_value is not None:
        return float(value.double_value)
    return value.bool_value if value.bool_value is not None else value.bytes_value
