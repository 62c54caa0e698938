"""The log store in Langfuse."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import IO, Any

import msgspec

from blocks.langfuse.api import LangfuseApi
from blocks.langfuse.settings import LangfuseSettings
from blocks.langfuse.traces import Traces
from blocks.langfuse.windows import Window, Windows
from blocks.logs.log_query import Scope
from blocks.logs.sampling import Sample, stratum_of
from blocks.logs.workload_census import Census
from blocks.ports import LogBatch, LogQuery, Refusal, WorkloadSummary
from flywheel.curation.batches import BatchBuilder
from flywheel.errors import DataError
from flywheel.progress import Progress
from flywheel.records.log_line import LogLine, Unreadable, read_fields
from flywheel.traces.calls import NO_LABELS, Labels, Recorded
from flywheel.traces.langfuse import recorded_generation

Found = tuple[str, dict[str, Any], Recorded]
"""Where a record comes from, the observation, and what it becomes."""


class LangfuseLogStore:
    """The generations of a Langfuse project.

    What is held is one window of observations. With a limit, the records of the workload are kept in a temporary file
    until it is known which are chosen, so that Langfuse is read once.

    Args:
        settings: Where it is. Nothing is asked before the first read.
        max_record_bytes: Longest observation that is read; longer ones are refused as `too_large`.
        labels: What tells workload and client.
        now: Tells the time; nothing that began later is read.

    `unreadable` counts the observations, by reason, that the last `workloads` found to be no records.
    """

    def __init__(
        self,
        settings: LangfuseSettings,
        max_record_bytes: int = 4_000_000,
        labels: Labels = NO_LABELS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.max_record_bytes = max_record_bytes
        self.labels = labels
        self.unreadable: dict[str, int] = {}
        self._now = now

    def read(self, query: LogQuery, progress: Progress) -> Iterator[LogBatch]:
        """See `blocks.ports.LogStore`. A record's origin is `langfuse/<id of the observation>`."""
        with LangfuseApi(self.settings) as api:
            end = _up(self._now())
            whole = Window(
                None if query.since is None else _down(query.since),
                end if query.until is None else min(end, _up(query.until)),
            )
            total = Windows(api).count(end)
            if not total:
                raise DataError(
                    f"The Langfuse project at {self.settings.host} holds no generations; check the keys, which decide "
                    "the project."
                )
            batch = BatchBuilder()
            chosen = _Chosen(query, Scope(query))
            seen = 0
            for found in self._found(api, whole, total, progress):
                seen += 1
                yield from chosen.take(found, batch)
            batch.out_of_scope += max(0, total - seen)  # outside of the window
            yield from chosen.rest(batch)
            if not batch.empty:
                yield batch.take()

    def workloads(self, progress: Progress) -> list[WorkloadSummary]:
        """See `blocks.ports.LogStore`. What is no record belongs to no workload; see `unreadable`."""
        census = Census()
        self.unreadable = {}
        with LangfuseApi(self.settings) as api:
            end = _up(self._now())
            total = Windows(api).count(end)
            for _, _, recorded in self._found(api, Window(None, end), total, progress):
                if recorded.problem is not None:
                    reason = recorded.problem.reason
                    self.unreadable[reason] = self.unreadable.get(reason, 0) + 1
                else:
                    census.add(read_fields(recorded.fields).known)
        return census.summaries()

    def _found(self, api: LangfuseApi, whole: Window, total: int, progress: Progress) -> Iterator[Found]:
        traces = Traces(api)
        count = 0
        for window, observations in Windows(api).read(whole):
            ids = [row["traceId"] for row in observations if isinstance(row.get("traceId"), str)]
            of = traces.of(window, ids)
            for row in observations:
                yield f"langfuse/{row['id']}", row, self._recorded(row, of.get(row.get("traceId") or ""))
            count += len(observations)
            progress("read Langfuse", count, max(count, total), "observations")

    def _recorded(self, row: dict[str, Any], trace: dict[str, Any] | None) -> Recorded:
        size = len(msgspec.json.encode(row))
        recorded = recorded_generation(row, trace, self.labels)
        if size <= self.max_record_bytes:
            return recorded
        most = self.max_record_bytes
        said = f"the observation has {size:,} bytes; validation_config.max_record_bytes allows {most:,}"
        return Recorded(recorded.fields, Unreadable("too_large", said))

    def __repr__(self) -> str:
        return f"LangfuseLogStore({self.settings!r})"


class _Chosen:
    """Puts into batches what is asked for: at once, or with a limit after all of it was seen."""

    def __init__(self, query: LogQuery, scope: Scope) -> None:
        self._scope = scope
        self._sample: Sample[int] | None = (
            None if query.limit is None else Sample(query.limit, query.sampling)
        )
        self._spool = _Spool() if self._sample is not None else None
        self._kept = 0

    def take(self, found: Found, batch: BatchBuilder) -> Iterator[LogBatch]:
        origin, row, recorded = found
        judged = self._judge(recorded, row["id"])
        if judged is None:
            batch.out_of_scope += 1
        elif isinstance(judged, Unreadable):
            shown = {"id": row["id"]} if judged.reason == "too_large" else row
            batch.refuse(Refusal(judged.reason, judged.detail, origin, None, shown))
        elif self._sample is None or self._spool is None:
            batch.add(judged, origin, None)
        else:
            stratum = stratum_of(judged.response) if self._sample.stratified else ""
            self._sample.add(self._kept, judged.timestamp, self._scope.draw(judged), stratum)
            self._spool.put(origin, judged)
            self._kept += 1
        if batch.full:
            yield batch.take()

    def rest(self, batch: BatchBuilder) -> Iterator[LogBatch]:
        if self._sample is None or self._spool is None:
            return
        chosen = set(self._sample.chosen())
        batch.over_limit += self._kept - len(chosen)
        for position, (origin, line) in enumerate(self._spool.all()):
            if position in chosen:
                batch.add(line, origin, None)
                if batch.full:
                    yield batch.take()

    def _judge(self, recorded: Recorded, identity: str) -> LogLine | Unreadable | None:
        read = read_fields(recorded.fields)
        if recorded.problem is not None:
            return None if self._scope.is_anothers(read) else recorded.problem
        return self._scope.judge(read, identity)


class _Spool:
    """Records in a file without a name, which is gone with the process."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `all`
        self._decoder = msgspec.msgpack.Decoder(tuple[str, LogLine])

    def put(self, origin: str, line: LogLine) -> None:
        packed = msgspec.msgpack.encode((origin, line))
        self._file.write(struct.pack("<Q", len(packed)) + packed)

    def all(self) -> Iterator[tuple[str, LogLine]]:
        with self._file as file:
            file.seek(0)
            while head := file.read(8):
                yield self._decoder.decode(file.read(struct.unpack("<Q", head)[0]))


def _down(moment: datetime) -> datetime:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.replace(microsecond=aware.microsecond // 1_000 * 1_000)


def _up(moment: datetime) -> datetime:
    floor = _down(moment)
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return floor if floor == aware else floor + timedelta(milliseconds=1)
