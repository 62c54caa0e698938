"""From log files to documents: what is sent to Elasticsearch for each record, and under which id.

A document's id is a hash of all that the record says, whatever the order of keys and the spelling of numbers, so that
loading a file twice adds nothing. Payloads stay as they were logged; a time becomes ISO 8601, which no index misreads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from blocks.logs.entries import entries_of
from blocks.logs.log_files import LogFile, log_files
from flywheel.curation.batches import Refusal
from flywheel.progress import Progress
from flywheel.records.canonical import content_id_of_json
from flywheel.records.log_line import LogLine, Unreadable, read_fields, read_line, typed_line
from flywheel.traces.calls import NO_LABELS, Labels

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MEGABYTE = 1_000_000
_LOOK_UP = 1_000  # records between two reports of progress


class Document(NamedTuple):
    """A record ready to be sent: a JSON object on one line, and where it came from."""

    id: str
    body: bytes
    file: str
    line: int


class _Stored(msgspec.Struct, omit_defaults=True, gc=False):
    id: str | None = None
    timestamp: str | None = None
    workload_id: str | None = None
    client_id: str | None = None
    conversation_id: str | None = None
    description: str | None = None
    latency_ms: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    request: msgspec.Raw | None = None
    response: msgspec.Raw | None = None


_encode = msgspec.json.Encoder().encode


def documents_of(
    paths: Sequence[Path], longest: int, progress: Progress, labels: Labels = NO_LABELS
) -> Iterator[Document | Refusal]:
    """Yield each record of the files and directories, and each line that is none.

    Args:
        longest: Of a line, in bytes; longer ones are refused.
        labels: What tells workload and client of calls that a tracing tool recorded.
    Raises: DataError where there is nothing to read.
    """
    files = [(path, file) for path in paths for file in log_files(path)]
    total = -(-sum(file.size for _, file in files) // _MEGABYTE)
    before = count = 0
    for path, file in files:
        name = str(path / file.name) if path.is_dir() else str(path)
        with file.path.open("rb", buffering=1 << 20) as raw:
            for number, source, problem in entries_of(file, raw, longest, labels):
                yield _document(source, problem, name, number)
                count += 1
                if count % _LOOK_UP == 0:
                    done = before + _read(file, raw.tell())
                    progress("load", done // _MEGABYTE, total, f"MB, {count:,} records")
        before += file.size
    progress("load", total, total, f"MB, {count:,} records")


def _read(file: LogFile, position: int) -> int:
    return 0 if file.kind == "parquet" else position


def _document(
    source: bytes | dict[str, msgspec.Raw], problem: tuple[str, str] | None, file: str, number: int
) -> Document | Refusal:
    if problem is not None:
        return Refusal(*problem, file, number, _as_text(source))
    read = read_line(source) if isinstance(source, bytes) else read_fields(source)
    if isinstance(read, Unreadable):
        return Refusal(read.reason, read.detail, file, number, _as_text(source))
    body = _body(typed_line(read))
    try:
        return Document(content_id_of_json(body), body, file, number)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # what is wrong inside a payload shows only now
        return Refusal("not_json", f"a payload is not JSON: {error}", file, number, _as_text(source))


def _body(line: LogLine) -> bytes:
    stored = _Stored(
        line.id,
        None if line.timestamp is None else _iso(line.timestamp),
        line.workload_id,
        line.client_id,
        line.conversation_id,
        line.description,
        line.latency_ms,
        line.tokens_in,
        line.tokens_out,
        None if line.request is None else msgspec.Raw(line.request),
        None if line.response is None else msgspec.Raw(line.response),
    )
    body = _encode(stored)
    if line.extra is not None:
        body = body[:-1] + (b"," if len(body) > 2 else b"") + line.extra[1:]
    if b"\n" in body or b"\r" in body:  # white space between tokens, which would end the line of the request
        body = body.replace(b"\r", b" ").replace(b"\n", b" ")
    return body


def _iso(seconds: float) -> str:
    """To the microsecond where there are any, which is as exact as the log's number was."""
    moment = _EPOCH + timedelta(seconds=seconds)
    return moment.isoformat().replace("+00:00", "Z")


def _as_text(source: bytes | dict[str, msgspec.Raw]) -> object:
    if isinstance(source, bytes):
        return source.decode(errors="backslashreplace").rstrip("\r\n")
    return source
