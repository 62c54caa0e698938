"""Files of OpenTelemetry spans: one document a line, or one document that is the whole file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, BinaryIO

import msgspec

from blocks.logs.log_files import LogFile, Piece, Row, lines_of
from blocks.logs.unpacking import UnpackingError, unpacked
from flywheel.traces.calls import Labels
from flywheel.traces.genai import recorded_span
from flywheel.traces.otlp import LOOKED_AT, looks_like_otlp, raw_spans

LONGEST_DOCUMENT = 256_000_000
"""Bytes of a document that is read: it holds as many spans as the Collector sends at once, and is held in memory."""


def holds_traces(file: LogFile, raw: BinaryIO) -> bool:
    """Whether an open text file begins as one of spans does; it stands at its beginning afterwards."""
    try:
        return looks_like_otlp(_stream(file, raw).read(LOOKED_AT))
    except UnpackingError:
        return False  # told when it is read
    finally:
        raw.seek(0)


def calls_of(file: LogFile, raw: BinaryIO, longest: int, labels: Labels) -> Iterator[Row]:
    """Yield the calls of a file of spans as the fields of log records, under the numbers of their lines.

    A document that cannot be read is one problem; so is a span, and it costs no other.

    Args:
        longest: Of a span, in bytes.
    """
    for number, document, problem in _documents(file, raw):
        if problem is not None:
            yield Row(number, _shown(document), problem)
            continue
        try:
            for span, resource in raw_spans(document):
                yield _call(number, span, resource, longest, labels)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            problem = ("bad_document", f"the line is no document of spans: {error}")
            yield Row(number, _shown(document), problem)


def _call(number: int, span: bytes, resource: dict[str, object], longest: int, labels: Labels) -> Row:
    if len(span) > longest:
        said = f"the span has {len(span):,} bytes; validation_config.max_record_bytes allows {longest:,}"
        return Row(number, {}, ("too_large", said))
    recorded = recorded_span(span, resource, labels)
    if recorded.problem is None:
        return Row(number, recorded.fields)
    fields = recorded.fields | {"span": msgspec.Raw(span)}
    return Row(number, fields, (recorded.problem.reason, recorded.problem.detail))


def _documents(file: LogFile, raw: BinaryIO) -> Iterator[Piece]:
    """The documents of a file. The first line of one that takes several ends where a line of its own cannot."""
    beginning = _stream(file, raw).read(LOOKED_AT)
    raw.seek(0)
    first, end, _ = beginning.partition(b"\n")
    if not end or first.rstrip().endswith(b"}"):
        yield from lines_of(file, raw, LONGEST_DOCUMENT)
        return
    try:
        whole = _stream(file, raw).read(LONGEST_DOCUMENT + 1)
    except UnpackingError as error:
        yield Piece(1, b"", ("truncated_file", f"{file.name} cannot be read any further: {error}"))
        return
    if len(whole) > LONGEST_DOCUMENT:
        said = f"the document has more than {LONGEST_DOCUMENT:,} bytes; write one document a line"
        yield Piece(1, b"", ("too_large", said))
    else:
        yield Piece(1, whole)


def _stream(file: LogFile, raw: BinaryIO) -> IO[bytes]:
    return unpacked(file.kind, raw) if file.kind in ("gzip", "zstd") else raw


def _shown(document: bytes) -> dict[str, msgspec.Raw]:
    text = document[:2_000].decode(errors="backslashreplace")
    return {"document": msgspec.Raw(msgspec.json.encode(text))}
