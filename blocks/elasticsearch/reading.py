"""One reading of the log, from the query to batches.

Everything that the index holds is counted first, and each record then goes to one of four places: the batches, the
refused, out of scope, over the limit. A reading that brings fewer records than were counted is an error, not a
smaller data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from blocks.elasticsearch import queries
from blocks.elasticsearch.columns import plain_columns
from blocks.elasticsearch.mapping import LogMapping, misread_times
from blocks.elasticsearch.pages import Hit, Order, Page, RawHit
from blocks.elasticsearch.point_in_time import Cursor, PointInTime
from blocks.elasticsearch.queries import Clause, every, has, no
from blocks.elasticsearch.settings import ElasticsearchSettings
from blocks.elasticsearch.slices import pages_of
from blocks.elasticsearch.survey import CALLED_TOOLS, CHUNK, IDENTITY, choose, in_chunks
from blocks.logs.log_query import Scope
from blocks.logs.sampling import Sample
from blocks.ports import LogBatch, LogQuery, Refusal
from flywheel.curation.batches import BatchBuilder
from flywheel.errors import DataError, TransientRemoteError
from flywheel.progress import Progress
from flywheel.records.log_line import LogLine, Unreadable

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

_SHARE_WORTH_A_LOOK = (
    0.5  # below it, looking at all identities first costs less than reading what is left out
)


class Counts(msgspec.Struct, frozen=True):
    """How many records there are.

    `ours` are of the workload, client and window; `well_dated` are those of them whose time the index reads right,
    `in_1970` those whose seconds it reads as milliseconds.
    """

    total: int
    ours: int
    nameless: int
    well_dated: int
    in_1970: int


class Reading:
    """See `batches`. `client` answers in dicts, `pages` in typed pages."""

    def __init__(
        self,
        client: Elasticsearch,
        pages: Elasticsearch,
        settings: ElasticsearchSettings,
        mapping: LogMapping,
        query: LogQuery,
        longest: int,
        progress: Progress,
    ) -> None:
        self._client, self._pages, self._settings = client, pages, settings
        self._mapping, self._query, self._longest, self._progress = mapping, query, longest, progress
        self._scope = Scope(query)
        self._ours = every(queries.ours(query), queries.in_window(query, mapping.time))
        self._view = PointInTime(client, settings.index)
        self._batch = BatchBuilder()
        self._done = self._of = 0

    def batches(self) -> Iterator[LogBatch]:
        """Read everything the query asks for. Raises: DataError, TransientRemoteError."""
        with self._view:
            counts = self._count()
            self._refuse_the_unreadable(counts)
            limit = self._query.limit
            nameless = counts.nameless if limit is None else min(limit, counts.nameless)
            self._batch.out_of_scope = counts.total - counts.ours - counts.nameless
            self._batch.over_limit = counts.nameless - nameless
            if nameless:
                self._of = nameless
                cursor = self._cursor(queries.perhaps_ours(self._query), dated=False, most=nameless)
                yield from self._taken(self._pages_of([cursor]), nameless)
            yield from self._wanted(counts)
            if not self._batch.empty:
                yield self._batch.take()

    def _wanted(self, counts: Counts) -> Iterator[LogBatch]:
        limit, share = self._query.limit, self._query.traffic_share
        self._done, self._of = 0, counts.ours
        if limit is None or counts.ours <= limit:
            if share < _SHARE_WORTH_A_LOOK:
                yield from self._shared(counts)
            else:
                yield from self._taken(self._pages_of(self._cursors(None)), counts.ours)
        elif self._query.sampling == "newest" and share == 1 and counts.well_dated == counts.ours:
            self._of = limit
            self._batch.over_limit += counts.ours - limit
            newest = self._cursor(self._ours, dated=True, order="desc", most=limit)
            yield from self._taken(self._pages_of([newest]), limit)
        else:
            yield from self._sampled(limit, counts)

    def _shared(self, counts: Counts) -> Iterator[LogBatch]:
        """Look at the identities of all, a page at a time, and read those that fall into the share."""
        generation, looked_at = self._view.generation, 0
        places: list[tuple[str, str]] = []
        for page in self._pages_of(self._cursors(IDENTITY)):
            for hit in page.hits:
                looked_at += 1
                read = hit.read()
                if isinstance(read, Unreadable) or self._scope.judge(read, hit.id) is None:
                    self._batch.out_of_scope += 1
                else:
                    places.append((hit.index, hit.id))
            self._progress("choose records", looked_at, counts.ours, "records")
            if len(places) >= CHUNK:
                yield from self._fetched(places)
                places = []
        self._check_whole(looked_at, counts.ours, generation)
        yield from self._fetched(places)

    def _sampled(self, limit: int, counts: Counts) -> Iterator[LogBatch]:
        sample: Sample[tuple[str, str]] = Sample(limit, self._query.sampling)
        fields = IDENTITY + (CALLED_TOOLS if sample.stratified else [])
        slim = self._pages_of(self._cursors(fields))
        generation = self._view.generation
        chosen = choose(slim, self._scope, sample, counts.ours, self._progress)
        self._check_whole(chosen.looked_at, counts.ours, generation)
        self._batch.out_of_scope += chosen.out_of_scope
        self._batch.over_limit += chosen.over_limit
        self._done, self._of = 0, len(chosen.places)
        yield from self._fetched(chosen.places)

    def _fetched(self, places: list[tuple[str, str]]) -> Iterator[LogBatch]:
        for wanted, clause in in_chunks(places):
            cursor = self._cursor(clause, dated=False)
            found = (_only(page, wanted) for page in self._pages_of([cursor]))
            yield from self._taken(found, len(wanted))

    def _taken(self, pages: Iterable[Page], expected: int) -> Iterator[LogBatch]:
        """Batches of the pages' records, as they get full. Counts what came."""
        generation, came = self._view.generation, 0
        for page in pages:
            came += len(page.hits)
            columns = plain_columns(page.hits, self._query, self._longest)
            if columns is not None:
                if not self._batch.empty:
                    yield self._batch.take()
                yield LogBatch(columns)
            else:
                for hit in page.hits:
                    self._take(hit)
                    if self._batch.full:
                        yield self._batch.take()
            self._done += len(page.hits)
            self._progress("read log", self._done, self._of, "records")
        self._check_whole(came, expected, generation)

    def _take(self, hit: Hit | RawHit) -> None:
        read = hit.read()
        judged = read if isinstance(read, Unreadable) else self._scope.judge(read, hit.id)
        if isinstance(judged, LogLine):
            self._keep(judged, hit)
        elif judged is None:
            self._batch.out_of_scope += 1
        else:
            self._refuse(judged, hit)

    def _keep(self, line: LogLine, hit: Hit | RawHit) -> None:
        size = len(line.request or b"") + len(line.response or b"") + len(line.extra or b"")
        if size > self._longest:
            allowed = f"validation_config.max_record_bytes allows {self._longest:,}"
            self._refuse(Unreadable("too_large", f"the record has {size:,} bytes; {allowed}"), hit)
        else:
            self._batch.add(line, f"{hit.index}/{hit.id}", None)

    def _refuse(self, why: Unreadable, hit: Hit | RawHit) -> None:
        record = None if why.reason == "too_large" else hit.as_logged()
        self._batch.refuse(Refusal(why.reason, why.detail, f"{hit.index}/{hit.id}", None, record))

    def _pages_of(self, cursors: list[Cursor]) -> Iterator[Page]:
        at_once = min(len(cursors), self._settings.slices)
        transport: Any = self._pages.transport
        return pages_of(cursors, at_once, transport.interrupt)

    def _cursors(self, source: list[str] | None) -> list[Cursor]:
        """Cursors that together bring every record of ours once: slices by time, and what has no time."""
        number = self._settings.slices
        dated, undated = every(self._ours, has(queries.TIME)), every(self._ours, no(has(queries.TIME)))
        cursors = [self._cursor(dated, dated=True, part=(i, number), source=source) for i in range(number)]
        return [*cursors, self._cursor(undated, dated=False, source=source)]

    def _cursor(
        self,
        clause: Clause,
        *,
        dated: bool,
        order: Order = "asc",
        part: tuple[int, int] = (0, 1),
        source: list[str] | None = None,
        most: int | None = None,
    ) -> Cursor:
        return Cursor(
            self._pages,
            self._view,
            clause,
            self._mapping.time,
            dated=dated,
            order=order,
            part=part,
            source=source,
            page_bytes=self._settings.page_bytes,
            most=most,
            pause=self._settings.first_pause / 4,
        )

    def _count(self) -> Counts:
        kind = self._mapping.time
        asked: dict[str, Clause] = {
            "ours": self._ours,
            "nameless": queries.perhaps_ours(self._query),
            "well_dated": every(self._ours, queries.read_times(kind)),
        }
        if kind != "number":
            asked["in_1970"] = every(self._ours, queries.seconds_read_as_milliseconds())
        _, view = self._view.reference()
        answer: dict[str, Any] = self._client.search(
            pit=view,
            size=0,
            track_total_hits=True,
            allow_partial_search_results=False,
            aggs={name: {"filter": clause} for name, clause in asked.items()},
        ).body
        if answer["_shards"]["failed"] or answer["timed_out"]:
            raise TransientRemoteError("Elasticsearch could not count the log whole; see to its shards.")
        found = {name: answer["aggregations"][name]["doc_count"] for name in asked}
        return Counts(answer["hits"]["total"]["value"], **{"in_1970": 0, **found})

    def _refuse_the_unreadable(self, counts: Counts) -> None:
        if not counts.total:
            raise DataError(
                f"{self._settings.index} holds no records; load some with `flywheel ingest FILES --to elasticsearch`, "
                "or check the name."
            )
        if counts.ours and counts.in_1970 == counts.ours and not self._mapping.reads_seconds:
            raise misread_times(self._settings.index, self._settings)

    def _check_whole(self, came: int, expected: int, generation: int) -> None:
        if came < expected or (came > expected and generation == self._view.generation):
            raise TransientRemoteError(
                f"Elasticsearch brought {came:,} of {expected:,} records; the log may have been deleted from while it "
                "was read. Run again."
            )


def _only(page: Page, wanted: set[tuple[str, str]]) -> Page:
    page.hits = [hit for hit in page.hits if (hit.index, hit.id) in wanted]
    return page
