"""Server-sent events, read from the parts in which a body arrived."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Event(NamedTuple):
    """The data of one event, and when its last byte arrived (in the unit of the parts' times)."""

    data: bytes
    arrived: float


def events(parts: Sequence[tuple[float, bytes]]) -> Iterator[Event]:
    """Yield the events that have data. Lines may end in any of the three ways, and anywhere between parts.

    An event whose blank line is missing counts if the body ends with it: some servers leave that line out.
    """
    data: list[bytes] = []
    arrived = 0.0
    for line, arrived in _lines(parts):
        if not line:
            if data:
                yield Event(b"\n".join(data), arrived)
                data = []
        elif line.startswith(b"data:"):
            value = line[5:]
            data.append(value[1:] if value.startswith(b" ") else value)
        elif line == b"data":
            data.append(b"")
    if data:
        yield Event(b"\n".join(data), arrived)


def _lines(parts: Sequence[tuple[float, bytes]]) -> Iterator[tuple[bytes, float]]:
    rest = b""
    arrived = 0.0
    for arrived, part in parts:
        if rest:
            part = rest + part
        lines = part.splitlines(keepends=True)
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""  # "\r" may be half of "\r\n"
        for line in lines:
            yield line.rstrip(b"\r\n"), arrived
    if rest:
        yield rest.rstrip(b"\r\n"), arrived
