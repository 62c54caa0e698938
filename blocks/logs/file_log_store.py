"""The log store that needs no server: files of JSON lines, also packed, Parquet, and OpenTelemetry spans."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from blocks.logs.entries import Entry, entries_of
from blocks.logs.log_files import LogFile, log_files
from blocks.logs.log_query import Scope
from blocks.logs.sampling import Sample, stratum_of
from blocks.logs.workload_census import Census
from blocks.ports import LogBatch, LogQuery, Refusal, WorkloadSummary
from flywheel.curation.batches import BatchBuilder
from flywheel.errors import DataError
from flywheel.progress import Progress
from flywheel.records.log_line import LogLine, ReadLine, Unknown, Unreadable, read_fields, read_line
from flywheel.traces.calls import NO_LABELS, NO_MODEL_CALL, Labels

_OUT, _REFUSED, _KEPT, _OVER = range(4)
_LOOK_UP = 4_096  # entries between two reports of progress
_MEGABYTE = 1_000_000


class FileLogStore:
    """Logs in a file, or in all files of a directory that are not hidden: JSONL (plain, gzip, zstd) and Parquet.

    A text file that begins as a document of OpenTelemetry spans does is read as such: each model call is a record.

    Reading with a limit goes over the files twice, so that what to keep is found without holding the log in memory.

    Args:
        path: File or directory. Nothing is opened before the first read.
        max_record_bytes: Longest line that is read; longer ones are refused as `too_large`.
        only: Names of the files to read, relative to `path`; None reads all.
        labels: What tells workload and client of calls that a tracing tool recorded.

    `unreadable` counts the lines, by reason, that the last `workloads` found to be no records.
    """

    def __init__(
        self,
        path: str | Path,
        max_record_bytes: int = 4_000_000,
        only: Collection[str] | None = None,
        labels: Labels = NO_LABELS,
    ) -> None:
        self.path = Path(path)
        self.max_record_bytes = max_record_bytes
        self.unreadable: dict[str, int] = {}
        self.labels = labels
        self._only = None if only is None else frozenset(only)

    def _files(self) -> list[LogFile]:
        return [file for file in log_files(self.path) if self._only is None or file.name in self._only]

    def read(self, query: LogQuery, progress: Progress) -> Iterator[LogBatch]:
        """See `blocks.ports.LogStore`. Lines count as refused that are no records or lack the ids they need."""
        files = self._files()
        scope = Scope(query)
        sample: Sample[int] | None = None if query.limit is None else Sample(query.limit, query.sampling)
        verdicts = None if sample is None else self._verdicts(files, scope, sample, progress)
        batch = BatchBuilder()
        for ordinal, (file, entry) in enumerate(self._entries(files, progress, "read log")):
            if verdicts is not None:
                if ordinal >= len(verdicts):
                    break  # written after we began
                if verdicts[ordinal] in (_OUT, _OVER):
                    batch.out_of_scope += verdicts[ordinal] == _OUT
                    batch.over_limit += verdicts[ordinal] == _OVER
                    continue
            judged = _judge(entry, scope)
            if isinstance(judged, LogLine):
                batch.add(judged, file.name, entry.number)
            elif judged is None:
                batch.out_of_scope += 1
            else:
                batch.refuse(_refusal(file, entry, judged))
            if batch.full:
                yield batch.take()
        if not batch.empty:
            yield batch.take()

    def workloads(self, progress: Progress) -> list[WorkloadSummary]:
        """See `blocks.ports.LogStore`. Lines that are no records belong to no workload; see `unreadable`."""
        census = Census()
        self.unreadable = {}
        for _, entry in self._entries(self._files(), progress, "list workloads"):
            read = Unreadable(*entry.problem) if entry.problem else _decode(entry.source)
            if isinstance(read, Unreadable):
                self.unreadable[read.reason] = self.unreadable.get(read.reason, 0) + 1
            else:
                census.add(read.known)
        return census.summaries()

    def _verdicts(
        self, files: list[LogFile], scope: Scope, sample: Sample[int], progress: Progress
    ) -> bytearray:
        """What becomes of each entry, a byte each, when only the chosen are kept."""
        verdicts = bytearray()
        for ordinal, (_, entry) in enumerate(self._entries(files, progress, "choose records")):
            judged = _judge(entry, scope)
            if isinstance(judged, LogLine):
                verdicts.append(_OVER)
                stratum = stratum_of(judged.response) if sample.stratified else ""
                sample.add(ordinal, judged.timestamp, scope.draw(judged), stratum)
            else:
                verdicts.append(_OUT if judged is None else _REFUSED)
        for ordinal in sample.chosen():
            verdicts[ordinal] = _KEPT
        return verdicts

    def _entries(
        self, files: list[LogFile], progress: Progress, stage: str
    ) -> Iterator[tuple[LogFile, Entry]]:
        total = sum(file.size for file in files)
        before = count = 0
        for file in files:
            try:
                with file.path.open("rb", buffering=1 << 20) as raw:
                    for entry in entries_of(file, raw, self.max_record_bytes, self.labels):
                        yield file, entry
                        count += 1
                        if count % _LOOK_UP == 0:
                            done = before + (0 if file.kind == "parquet" else raw.tell())
                            progress(stage, done // _MEGABYTE, -(-total // _MEGABYTE), f"MB, {count:,} lines")
            except OSError as error:
                raise DataError(
                    f"{file.path} cannot be read ({error.strerror or error}); check the file."
                ) from error
            before += file.size
        progress(stage, -(-total // _MEGABYTE), -(-total // _MEGABYTE), f"MB, {count:,} lines")


def _decode(source: bytes | Unknown) -> ReadLine | Unreadable:
    return read_line(source) if isinstance(source, bytes) else read_fields(source)


def _judge(entry: Entry, scope: Scope) -> LogLine | Unreadable | None:
    """The record if it is asked for, None if it is not, or why it is no record."""
    if entry.problem:
        if entry.problem[0] == NO_MODEL_CALL or (
            not isinstance(entry.source, bytes) and scope.is_anothers(read_fields(entry.source))
        ):
            return None
        return Unreadable(*entry.problem)
    read = _decode(entry.source)
    return read if isinstance(read, Unreadable) else scope.judge(read)


def _refusal(file: LogFile, entry: Entry, why: Unreadable) -> Refusal:
    return Refusal(why.reason, why.detail, file.name, entry.number, _as_logged(entry.source))


def _as_logged(source: bytes | Unknown) -> object:
    """The object that a line holds, else its text with the bytes that are no UTF-8 written as `\\xff`."""
    try:
        value = msgspec.json.decode(source if isinstance(source, bytes) else msgspec.json.encode(source))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    if isinstance(value, dict) or not isinstance(source, bytes):
        return value
    return source.decode(errors="backslashreplace").rstrip("\r\n")
