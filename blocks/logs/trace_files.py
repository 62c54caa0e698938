"""Files of traces: OpenTelemetry spans, a document a line or a document that is the file; observations of Langfuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, BinaryIO

import msgspec

from blocks.logs.log_files import LogFile, Piece, Row, lines_of
from blocks.logs.unpacking import UnpackingError, unpacked
from flywheel.records.log_line import Unknown
from flywheel.traces.calls import Labels, Recorded
from flywheel.traces.genai import recorded_span
from flywheel.traces.langfuse import exported_generation, looks_like_an_export
from flywheel.traces.otlp import LOOKED_AT, looks_like_otlp, raw_spans

LONGEST_DOCUMENT = 256_000_000
"""Bytes of a document that is read: it holds as many spans as the Collector sends at once, and is held in memory."""


def calls_in(file: LogFile, raw: BinaryIO, longest: int, labels: Labels) -> Iterator[Row] | None:
    """The calls of an open text file that begins as a file of traces does; None for any other.

    They come as the fields of log records, under the numbers of their lines. A document that cannot be read is one
    problem; so is a call, and it costs no other.

    Args:
        longest: Of a call, in bytes.
    """
    try:
        if looks_like_otlp(_stream(file, raw).read(LOOKED_AT)):
            return _of_spans(file, raw, longest, labels)
        raw.seek(0)
        if looks_like_an_export(_stream(file, raw).readline(longest)):
            return _of_observations(file, raw, longest, labels)
    except UnpackingError:
        pass  # told when it is read
    finally:
        raw.seek(0)
    return None


def _of_observations(file: LogFile, raw: BinaryIO, longest: int, labels: Labels) -> Iterator[Row]:
    for number, line, problem in lines_of(file, raw, longest):
        if problem is None:
            recorded = exported_generation(line, labels)
            yield _row(number, recorded, {"observation": msgspec.Raw(line)})
        else:
            yield Row(number, _shown(line), problem)


def _of_spans(file: LogFile, raw: BinaryIO, longest: int, labels: Labels) -> Iterator[Row]:
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
    return _row(number, recorded_span(span, resource, labels), {"span": msgspec.Raw(span)})


def _row(number: int, recorded: Recorded, written: Unknown) -> Row:
    if recorded.problem is None:
        return Row(number, recorded.fields)
    problem = recorded.problem.reason, recorded.problem.detail
    if recorded.problem.reason == "not_json":
        written = {
            name: msgspec.Raw(msgspec.json.encode(bytes(raw).decode(errors="backslashreplace")))
            for name, raw in written.items()
        }
    return Row(number, recorded.fields | written, problem)


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
