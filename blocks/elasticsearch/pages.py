"""A page of answers, decoded in one go into typed structs.

The payloads of a record stay bytes inside the page; nothing becomes a dict. Building dicts, and the garbage collector
that walks them again and again, is where a client spends its time otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from elastic_transport import JsonSerializer

from flywheel.records.log_line import NOTHING, ReadLine, Unreadable, WireLine, read_line


class Hit(msgspec.Struct, gc=False, rename={"index": "_index", "id": "_id", "source": "_source"}):
    """A document whose fields are as most logs write them."""

    index: str
    id: str
    source: WireLine
    sort: msgspec.Raw = msgspec.Raw(b"[]")

    def read(self) -> ReadLine | Unreadable:
        """The record in it."""
        return ReadLine(self.source, {})

    def as_logged(self) -> Any:
        """The document as an object."""
        fields = {name: getattr(self.source, name) for name in WireLine.__struct_fields__}
        there = {name: value for name, value in fields.items() if value is not None and value != NOTHING}
        return msgspec.json.decode(msgspec.json.encode(there))


class RawHit(msgspec.Struct, gc=False, rename={"index": "_index", "id": "_id", "source": "_source"}):
    """Any document: with further fields, or with values of other types."""

    index: str
    id: str
    source: msgspec.Raw
    sort: msgspec.Raw = msgspec.Raw(b"[]")

    def read(self) -> ReadLine | Unreadable:
        """The record in it, or why it is none."""
        return read_line(bytes(self.source))

    def as_logged(self) -> Any:
        """The document as an object."""
        return msgspec.json.decode(self.source)


class _Shards(msgspec.Struct, frozen=True):
    failed: int = 0
    failures: msgspec.Raw = msgspec.Raw(b"[]")


class _Hits(msgspec.Struct):
    hits: list[Hit]


class _RawHits(msgspec.Struct):
    hits: list[RawHit]


class _Answer(msgspec.Struct, rename={"shards": "_shards"}):
    hits: _Hits
    shards: _Shards = _Shards()
    timed_out: bool = False
    pit_id: str | None = None


class _RawAnswer(msgspec.Struct, rename={"shards": "_shards"}):
    hits: _RawHits
    shards: _Shards = _Shards()
    timed_out: bool = False
    pit_id: str | None = None


class Page(msgspec.Struct, gc=False):
    """What one request brought. `bytes` is its length on the wire; `problem` says why it is not whole."""

    hits: Sequence[Hit | RawHit]
    bytes: int
    pit_id: str | None
    problem: str | None


_as_most = msgspec.json.Decoder(_Answer)
_anything = msgspec.json.Decoder(_RawAnswer)


def decode_page(body: bytes) -> Page:
    """Raises: msgspec.DecodeError (ValidationError where it is no page)."""
    answer: _Answer | _RawAnswer
    try:
        answer = _as_most.decode(body)
    except msgspec.ValidationError:
        answer = _anything.decode(body)
    problem = None
    if answer.timed_out:
        problem = "the search timed out on a shard"
    elif answer.shards.failed:
        failures = bytes(answer.shards.failures)[:300].decode(errors="replace")
        problem = f"{answer.shards.failed} shards failed: {failures}"
    return Page(answer.hits.hits, len(body), answer.pit_id, problem)


class PageSerializer(JsonSerializer):
    """Reads pages of hits as `Page`, and everything else, such as errors, as plain JSON."""

    def loads(self, data: bytes) -> Any:
        """See `elastic_transport.Serializer`."""
        try:
            return decode_page(data)
        except (msgspec.DecodeError, RecursionError):
            return super().loads(data)


PAGE_SERIALIZERS = {
    kind: PageSerializer() for kind in ("application/json", "application/vnd.elasticsearch+json")
}

Order = Literal["asc", "desc"]
