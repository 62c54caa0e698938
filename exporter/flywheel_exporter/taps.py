"""Byte streams that hand on what they are given and let a `Call` see it.

An httpx client accepts only streams of its own base classes. httpx has a successor under another name whose classes
have the same shape, so the base is taken from the stream at hand rather than imported.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any

from flywheel_exporter.calls import Call


def tapped(stream: Any, call: Call) -> Any:
    """A sync stream as one of the same library that `call` sees."""
    return _tap_class(_SyncTap, _base(type(stream), "SyncByteStream"))(stream, call)


def atapped(stream: Any, call: Call) -> Any:
    """The same for an async stream."""
    return _tap_class(_AsyncTap, _base(type(stream), "AsyncByteStream"))(stream, call)


class _SyncTap:
    def __init__(self, stream: Any, call: Call) -> None:
        self._stream = stream
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._stream:
                self._call.chunk(chunk)
                yield chunk
        except BaseException as error:
            self._call.finish(error)
            raise
        self._call.finish()

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._call.finish()


class _AsyncTap:
    def __init__(self, stream: Any, call: Call) -> None:
        self._stream = stream
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                self._call.chunk(chunk)
                yield chunk
        except BaseException as error:
            self._call.finish(error)
            raise
        self._call.finish()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._call.finish()


def _base(kind: type, name: str) -> type:
    for base in kind.__mro__:
        if base.__name__ == name:
            return base
    raise TypeError(f"{kind.__name__} is no {name} of httpx")


@cache
def _tap_class(tap: type, base: type) -> Any:
    return type(f"Tapped{base.__name__}", (tap, base), {})
