"""What a run asks of the log, as queries.

The queries ask for no less than what is wanted. Whether a record is really asked for is decided by
`blocks.logs.log_query.Scope` when it has been read, for every log store in the same way.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from blocks.ports import LogQuery
from flywheel.records.timestamps import EARLIEST, LATEST

Clause = dict[str, Any]
TimeKind = Literal["date", "date_nanos", "number"]
TIME = "timestamp"
MILLISECONDS = 1_000


def every(*clauses: Clause) -> Clause:
    """Documents that fit all clauses; filters do not score, and are cached."""
    return {"bool": {"filter": list(clauses)}}


def either(*clauses: Clause) -> Clause:
    """Documents that fit a clause at least."""
    return {"bool": {"should": list(clauses), "minimum_should_match": 1}}


def no(clause: Clause) -> Clause:
    """Documents that do not fit."""
    return {"bool": {"must_not": [clause]}}


def is_exactly(field: str, value: str) -> Clause:
    """Documents whose identifier is this, whole and with its case; no character of it has a meaning of its own."""
    return {"term": {field: {"value": value}}}


def has(field: str) -> Clause:
    """Documents with a searchable value."""
    return {"exists": {"field": field}}


def ours(query: LogQuery) -> Clause:
    """Records of the workload and client."""
    return every(is_exactly("workload_id", query.workload_id), is_exactly("client_id", query.client_id))


def perhaps_ours(query: LogQuery) -> Clause:
    """Records that lack an identifier, or both, and are not another's by the one that they have."""
    no_workload, no_client = nameless("workload_id"), nameless("client_id")
    return either(
        every(no_workload, either(no_client, is_exactly("client_id", query.client_id))),
        every(no_client, is_exactly("workload_id", query.workload_id)),
    )


def nameless(field: str) -> Clause:
    """Documents without the identifier; an empty one is none."""
    return either(no(has(field)), is_exactly(field, ""))


def read_times(kind: TimeKind) -> Clause:
    """Records whose time Elasticsearch has read, and read as one that can be right."""
    if kind == "number":
        return {"match_none": {}}  # seconds or milliseconds, nobody can say
    return between(EARLIEST * MILLISECONDS, LATEST * MILLISECONDS)


def seconds_read_as_milliseconds() -> Clause:
    """Records whose time is in January or February 1970: where seconds of our days lie when read as milliseconds."""
    return between(EARLIEST, LATEST)


def between(begin: float, end: float) -> Clause:
    """Records of a time from `begin` and before `end`, in milliseconds since 1970."""
    return {"range": {TIME: {"gte": int(begin), "lt": int(end), "format": "epoch_millis"}}}


def in_window(query: LogQuery, kind: TimeKind) -> Clause:
    """Records of the time window, and all those whose time has to be looked at by us."""
    if query.since is None and query.until is None:
        return {"match_all": {}}
    begin = EARLIEST if query.since is None else max(EARLIEST, seconds(query.since))
    end = LATEST if query.until is None else min(LATEST, seconds(query.until))
    # a bound is a float of seconds: a millisecond to either side costs nothing
    window = between(begin * MILLISECONDS - 1, end * MILLISECONDS + 2)
    return no(every(read_times(kind), no(window)))


def seconds(moment: datetime) -> float:
    """Seconds since 1970; without a zone the time is UTC, as in logs."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
