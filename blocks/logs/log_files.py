"""Lines and rows of log files, whatever they are packed in: plain, gzip, zstd or Parquet, told by their first bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, NamedTuple

import msgspec

from blocks.logs.unpacking import UnpackingError, unpacked
from flywheel.errors import DataError
from flywheel.records.log_line import PAYLOADS, Unknown

Kind = Literal["plain", "gzip", "zstd", "parquet"]
_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PAR1", "parquet"),
)
_BUFFER = 1 << 20
_BOM = b"\xef\xbb\xbf"
_SHOWN = 2_000  # characters kept of a line that is too long


class Piece(NamedTuple):
    """One line, or why there is none: `problem` is a reason code and a sentence."""

    number: int
    source: bytes
    problem: tuple[str, str] | None = None


class Row(NamedTuple):
    """One row of Parquet as raw JSON fields, or why there is none."""

    number: int
    source: Unknown
    problem: tuple[str, str] | None = None


class LogFile(NamedTuple):
    """A file of a log. `name` is its path below the log's directory."""

    path: Path
    name: str
    size: int
    kind: Kind


def log_files(path: Path) -> list[LogFile]:
    """The files of a log, sorted by name; in a directory, all of them that are not hidden, at any depth.

    Raises: DataError where there is nothing to read.
    """
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
        if not found:
            raise DataError(f"the log directory {path} holds no files; put JSONL or Parquet files there.")
    elif path.is_file():
        found = [path]
    elif path.exists():
        # What a pipe gave to one reading the next one does not get; one that nobody writes to is waited for for ever.
        raise DataError(
            f"{path} is a pipe or a device, and a log is read more than once; write it to a file first."
        )
    else:
        raise DataError(f"there is no log at {path}; give an existing file or directory.")
    files = [_described(p, str(p.relative_to(path)) if p != path else p.name) for p in found]
    if not any(file.size for file in files):
        raise DataError(f"the log at {path} is empty; check that the exporter wrote it.")
    return files


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _described(path: Path, name: str) -> LogFile:
    try:
        with path.open("rb") as file:
            start = file.read(4)
            size = file.seek(0, io.SEEK_END) if file.seekable() else len(start)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    kind: Kind = next((kind for magic, kind in _MAGIC if start.startswith(magic)), "plain")
    return LogFile(path, name, size, kind)


def lines_of(file: LogFile, raw: BinaryIO, longest: int) -> Iterator[Piece]:
    """Yield a text log's lines that are not blank, numbered from 1; of a line longer than `longest` bytes its start.

    A file that ends in the middle of its compression gives what could be read, then a `truncated_file` problem.
    """
    number = 0
    stream: IO[bytes] = unpacked(file.kind, raw) if file.kind in ("gzip", "zstd") else raw
    while True:
        number += 1
        try:
            line = stream.readline(longest + 2)  # room for the line end
            if not line:
                return
            if len(line) > longest and len(line.rstrip(b"\r\n")) > longest:
                length = len(line) + _skip_line(stream) if not line.endswith(b"\n") else len(line)
                yield Piece(number, line[:_SHOWN], ("too_large", _too_long(length, longest)))
                continue
        except UnpackingError as error:
            yield Piece(number, b"", ("truncated_file", f"{file.name} cannot be read any further: {error}"))
            return
        if number == 1 and line.startswith(_BOM):
            line = line[len(_BOM) :]
        if line and not line.isspace():
            yield Piece(number, line)


def _too_long(length: int, longest: int) -> str:
    return f"the line has {length:,} bytes; validation_config.max_record_bytes allows {longest:,}"


def _skip_line(stream: IO[bytes]) -> int:
    skipped = 0
    while rest := stream.readline(_BUFFER):
        skipped += len(rest)
        if rest.endswith(b"\n"):
            break
    return skipped


def rows_of(file: LogFile, longest: int) -> Iterator[Row]:
    """Yield a Parquet log's rows, numbered from 1.

    `request` and `response` may be JSON text or nested columns; in nested ones null means absent, since a column has
    every key that any row has.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(file.path) as parquet:
            for batch in parquet.iter_batches(batch_size=1_024):
                names = batch.schema.names
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield _row(number, dict(zip(names, values, strict=True)), longest)
    except (pa.ArrowException, OSError) as error:
        problem = ("truncated_file", f"{file.name} cannot be read any further: {error}")
        yield Row(number + 1, {}, problem)


def _row(number: int, row: dict[str, Any], longest: int) -> Row:
    fields: Unknown = {}
    for name, value in row.items():
        if value is None:
            continue
        if isinstance(value, bytes):
            value = value.decode(errors="backslashreplace")
        if name in PAYLOADS and isinstance(value, str) and value.lstrip().startswith("{"):
            fields[name] = msgspec.Raw(value.strip().encode())
        else:
            pruned = _without_nulls(value) if name in PAYLOADS else value
            fields[name] = msgspec.Raw(msgspec.json.encode(pruned, enc_hook=str))
    size = sum(len(bytes(raw)) for raw in fields.values())
    return (
        Row(number, fields) if size <= longest else Row(number, {}, ("too_large", _too_long(size, longest)))
    )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value
