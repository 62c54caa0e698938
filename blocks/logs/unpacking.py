"""Reading gzip and zstd a little at a time, with an error where a file ends too early.

The libraries' own readers throw away what they had unpacked when they meet the end of a cut-off file (gzip), or do
not notice it (zstd). Both formats allow several members in a row, which is how logs are appended to.
"""

from __future__ import annotations

import io
import zlib
from typing import IO, Any, BinaryIO, Literal, Protocol

_READ_AHEAD = 1 << 20
_STEP = {"gzip": 16_384, "zstd": 512}
"""Packed bytes fed at once. They bound what comes out at once: 16 MB at the formats' densest packing."""


class UnpackingError(EOFError):
    """The packed data ends too early, or is damaged."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def unpacked(kind: Literal["gzip", "zstd"], packed: BinaryIO) -> IO[bytes]:
    """A reader of the unpacked bytes; reading raises UnpackingError after the last byte that could be had."""
    return io.BufferedReader(_Unpacking(kind, packed), _READ_AHEAD)


class _Unpacking(io.RawIOBase):
    def __init__(self, kind: Literal["gzip", "zstd"], packed: BinaryIO) -> None:
        self._kind = kind
        self._packed = packed
        self._decompressor: _Decompressor | None = None
        self._left = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._left or self._packed.read(_STEP[self._kind])
            self._left = b""
            if not data:
                if self._decompressor is not None:
                    raise UnpackingError(f"the {self._kind} data ends too early")
                return 0
            self._ready = memoryview(self._feed(data))
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _feed(self, data: bytes) -> bytes:
        if self._decompressor is None:
            if self._kind == "gzip" and not (
                data := data.lstrip(b"\0")
            ):  # padding between members is allowed
                return b""
            self._decompressor = _new(self._kind)
        try:
            out = self._decompressor.decompress(data)
        except (
            Exception
        ) as error:  # zlib.error, or ZstdError of a library that is imported only where it is needed
            raise UnpackingError(f"the {self._kind} data is damaged: {error}") from error
        if self._decompressor.eof:
            self._left = self._decompressor.unused_data
            self._decompressor = None
        return out


def _new(kind: Literal["gzip", "zstd"]) -> _Decompressor:
    if kind == "gzip":
        return zlib.decompressobj(wbits=31)
    import zstandard

    decompressor: _Decompressor = zstandard.ZstdDecompressor().decompressobj()
    return decompressor
