"""Deciding of one logged record whether a query asks for it; the same for every log store that reads lines itself."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from blocks.ports import LogQuery
from flywheel.config import FlywheelConfig
from flywheel.records.log_line import LogLine, ReadLine, Unreadable, typed_line

_DRAWS = 1 << 64


def query_of(config: FlywheelConfig, since: datetime | None = None) -> LogQuery:
    """What the settings ask of a log store; `since` is a watermark, and the later of both begins count."""
    begins = [begin for begin in (config.logs.since, since) if begin is not None]
    return LogQuery(
        workload_id=config.workload_id,
        client_id=config.client_id,
        since=max(begins, key=_seconds, default=None),
        until=config.logs.until,
        limit=config.data_split_config.limit,
        traffic_share=config.logs.traffic_share,
        sampling=config.logs.sampling,
    )


class Scope:
    """A `LogQuery`, ready to be asked of many records."""

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        self._since = None if query.since is None else _seconds(query.since)
        self._until = None if query.until is None else _seconds(query.until)
        self._windowed = self._since is not None or self._until is not None

    def judge(self, read: ReadLine, identity: str | None = None) -> LogLine | Unreadable | None:
        """The record if it is asked for, None if it is not, or why that cannot be told.

        A record that lacks an id is another's if the id that it has is another's, and else refused: it may be ours.
        `identity` is what the store knows the record by; see `draw`.
        """
        query, wire = self._query, read.known
        if wire.workload_id != query.workload_id or wire.client_id != query.client_id:
            if self.is_anothers(read):
                return None
            name = "workload" if wire.workload_id is None else "client"
            return Unreadable(
                f"missing_{name}_id", f"the record names no {name}; log {name}_id with each call"
            )
        line = typed_line(read)
        if self._windowed and not self._in_window(line.timestamp, unreadable=wire.timestamp is not None):
            return None
        if query.traffic_share < 1 and self.draw(line, identity) >= query.traffic_share * _DRAWS:
            return None
        return line

    def is_anothers(self, read: ReadLine) -> bool:
        """Whether an id that the record has is another's."""
        query, wire = self._query, read.known
        return wire.workload_id not in (None, query.workload_id) or wire.client_id not in (
            None,
            query.client_id,
        )

    def _in_window(self, timestamp: float | None, *, unreadable: bool) -> bool:
        if (
            timestamp is None
        ):  # an unreadable time goes on, to be refused with its reason; none at all is no match
            return unreadable
        return (self._since is None or timestamp >= self._since) and (
            self._until is None or timestamp < self._until
        )

    @staticmethod
    def draw(line: LogLine, identity: str | None = None) -> int:
        """A number below 2**64 that depends on the record alone.

        On its id if it has one, else on the store's name for it (`identity`), else on its payloads.
        """
        hasher = hashlib.blake2b(digest_size=8)
        known_by = line.id if line.id is not None else identity
        if known_by is not None:
            hasher.update(known_by.encode())
        else:
            hasher.update(b"%r" % line.timestamp + (line.request or b"") + (line.response or b""))
        return int.from_bytes(hasher.digest(), "big")


def _seconds(moment: datetime) -> float:
    """Seconds since 1970; without a zone the time is UTC, as in logs."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
