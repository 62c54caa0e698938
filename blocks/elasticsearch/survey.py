"""A first look at every record, at little more than its identifiers and time, to choose which ones to read.

It is taken when the choice is not simply the newest, or when the index cannot tell which are newest because it holds
times that it reads wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from blocks.elasticsearch.pages import Page
from blocks.elasticsearch.queries import Clause
from blocks.logs.log_query import Scope
from blocks.logs.sampling import Sample, stratum_of
from flywheel.progress import Progress
from flywheel.records.log_line import LogLine, Unreadable

IDENTITY = ["id", "timestamp", "workload_id", "client_id"]
CALLED_TOOLS = [
    "response.choices.message.tool_calls.function.name",
    "response.choices.message.function_call.name",
]
CHUNK = 1_000  # documents fetched by name in one request; Elasticsearch allows 65,536 terms

Place = tuple[str, str]
"""Index and id of a document."""


class Chosen(NamedTuple):
    """Which documents to read, and what becomes of the others."""

    places: list[Place]
    out_of_scope: int
    over_limit: int
    looked_at: int


def choose(
    pages: Iterable[Page], scope: Scope, sample: Sample[Place], total: int, progress: Progress
) -> Chosen:
    """Look at slim pages, with the fields `IDENTITY`, and `CALLED_TOOLS` where the sample is stratified."""
    out = looked_at = 0
    for page in pages:
        for hit in page.hits:
            looked_at += 1
            read = hit.read()
            line = None if isinstance(read, Unreadable) else scope.judge(read, hit.id)
            if isinstance(line, LogLine):
                stratum = stratum_of(line.response) if sample.stratified else ""
                sample.add((hit.index, hit.id), line.timestamp, scope.draw(line, hit.id), stratum)
            else:
                out += 1
        progress("choose records", looked_at, total, "records")
    places = sorted(sample.chosen())
    return Chosen(places, out, sample.seen - len(places), looked_at)


def in_chunks(places: list[Place]) -> Iterator[tuple[set[Place], Clause]]:
    """Documents to fetch together, with the query that finds them. An id can stand in several indices."""
    for begin in range(0, len(places), CHUNK):
        chunk = places[begin : begin + CHUNK]
        yield set(chunk), {"ids": {"values": sorted({identifier for _, identifier in chunk})}}
