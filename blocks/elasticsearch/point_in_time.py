"""One frozen view of the log, and cursors that walk through it in the order of time.

A cursor stands on (time, tiebreak). The tiebreak belongs to the view; the time belongs to the record. So when the view
is lost (it expired, a node was restarted), a new one is opened and the cursor goes on at the time where it stood,
leaving out the records of that very time that it has handed on already.
"""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Any

import msgspec

from blocks.elasticsearch.failures import is_lost_point_in_time
from blocks.elasticsearch.pages import Order, Page
from blocks.elasticsearch.queries import TIME, Clause, TimeKind, every
from flywheel.errors import TransientRemoteError

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

KEEP_ALIVE = "5m"
MOST_HITS = 10_000  # of one page; Elasticsearch's own bound
FIRST_HITS = 500
MOST_LOSSES = 5  # of the view, or of a shard, without a page between them


class PointInTime:
    """A view of an index that does not change while it is read. Use it as a context manager; threads may share it."""

    def __init__(self, client: Elasticsearch, index: str) -> None:
        self._client = client
        self._index = index
        self._lock = Lock()
        self._id = ""
        self.generation = 0

    def __enter__(self) -> PointInTime:
        self._open()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._client.options(request_timeout=5, ignore_status=404).close_point_in_time(id=self._id)
        except Exception:  # it expires by itself; the error that ended the reading matters more
            return

    def reference(self) -> tuple[int, Clause]:
        """The generation, and what a search names the view by."""
        with self._lock:
            return self.generation, {"id": self._id, "keep_alive": KEEP_ALIVE}

    def keep(self, generation: int, newer_id: str | None) -> None:
        """Remember the id that an answer gave: the view's id may change while it lives."""
        with self._lock:
            if newer_id and generation == self.generation:
                self._id = newer_id

    def renew(self, lost: int) -> None:
        """Open a new view, unless another cursor has done so since generation `lost`."""
        with self._lock:
            if lost == self.generation:
                self._open()

    def _open(self) -> None:
        answer = self._client.open_point_in_time(
            index=self._index, keep_alive=KEEP_ALIVE, ignore_unavailable=False
        )
        self._id = answer["id"]
        self.generation += 1


class Cursor:
    """Pages of what fits a filter, in the order of time.

    Args:
        client: One made with `pages.PAGE_SERIALIZERS`.
        dated: Whether the filter lets only documents with a time through. Without one there is no order, and the
            cursor remembers all that it has handed on.
        part: (position, number) of the slice to walk through, by a hash of the time, so that a slice is the same in
            every view.
        source: Fields to bring; None brings whole documents.
        page_bytes: What a page shall weigh.
        most: Documents to bring at most.
        pause: Seconds before a search is tried again that came back without a shard or a view; it grows.
    """

    def __init__(
        self,
        client: Elasticsearch,
        view: PointInTime,
        clause: Clause,
        kind: TimeKind,
        *,
        dated: bool,
        order: Order = "asc",
        part: tuple[int, int] = (0, 1),
        source: list[str] | None = None,
        page_bytes: int,
        most: int | None = None,
        pause: float = 0.1,
    ) -> None:
        self._client, self._view, self._clause, self._kind = client, view, clause, kind
        self._dated, self._order, self._part, self._source = dated, order, part, source
        self._page_bytes, self._left, self._pause = page_bytes, most, pause
        self._hits = FIRST_HITS
        self._generation = 0
        self._after: msgspec.Raw | None = None  # where we stand in this view
        self._time: Any = None  # where we stand in any view
        self._at_time: set[tuple[str, str]] = set()  # what was handed on of that time
        self._again: frozenset[tuple[str, str]] = frozenset()  # what a new view brings again
        self.done = False

    def next_page(self) -> Page:
        """The next page; `done` says whether it was the last.

        Raises: TransientRemoteError when shards go on failing, or the view is lost again and again. What the client
            raises comes through.
        """
        from elasticsearch import ApiError

        problem = ""
        for losses in range(MOST_LOSSES):
            if losses > 1:
                time.sleep(self._pause * 2**losses)
            generation, view = self._view.reference()
            if generation != self._generation:
                self._generation, self._after = generation, None
                self._again = frozenset(self._at_time)
            size = min(self._hits, self._left if self._left is not None else self._hits)
            try:
                answer: Any = self._client.perform_request(
                    "POST",
                    "/_search",
                    params={"allow_partial_search_results": "false"},
                    headers={"accept": "application/json", "content-type": "application/json"},
                    body=self._body(view, size),
                ).body
            except ApiError as error:
                if not is_lost_point_in_time(error):
                    raise
                problem = "the point in time was lost"
                self._view.renew(generation)
                continue
            page: Page = answer
            if page.problem:
                problem = page.problem
                self._view.renew(generation)
                continue
            self._view.keep(generation, page.pit_id)
            return self._advanced(page, size)
        raise TransientRemoteError(
            f"Elasticsearch does not give the log whole ({problem}, {MOST_LOSSES} times in a row); see to its shards, "
            "then run again."
        )

    def _body(self, view: Clause, size: int) -> dict[str, Any]:
        clause = self._clause
        sort: list[Any] = [{"_shard_doc": "asc"}]
        if self._dated:
            by_time: dict[str, Any] = {"order": self._order}
            if self._kind == "date_nanos":
                by_time["numeric_type"] = "date"
            sort.insert(0, {TIME: by_time})
            if self._after is None and self._time is not None:
                bound = {"gte" if self._order == "asc" else "lte": self._time}
                if self._kind != "number":
                    bound["format"] = "epoch_millis"
                clause = every(clause, {"range": {TIME: bound}})
        body: dict[str, Any] = {
            "query": clause,
            "pit": view,
            "sort": sort,
            "size": size,
            "track_total_hits": False,
        }
        if self._part[1] > 1:
            body["slice"] = {"field": TIME, "id": self._part[0], "max": self._part[1]}
        if self._source is not None:
            body["_source"] = self._source
        if self._after is not None:
            body["search_after"] = msgspec.json.decode(self._after)
        return body

    def _advanced(self, page: Page, size: int) -> Page:
        """Stand behind the page; leave out of it what was handed on before the view was lost."""
        hits = page.hits
        self.done = len(hits) < size
        if not hits:
            return page
        if self._again:
            page.hits = [hit for hit in hits if (hit.index, hit.id) not in self._again]
        self._after = msgspec.Raw(bytes(hits[-1].sort))
        self._stand_on(hits)
        if self._left is not None:
            self._left -= len(page.hits)
            self.done = self.done or self._left <= 0
        self._hits = max(1, min(MOST_HITS, 4 * size, self._page_bytes * len(hits) // max(1, page.bytes)))
        return page

    def _stand_on(self, hits: Any) -> None:
        if not self._dated:
            self._at_time.update((hit.index, hit.id) for hit in hits)
            return
        last = _time_of(hits[-1])
        if last != self._time:
            self._time = last
            self._at_time = set()
            self._again = frozenset()
        for hit in reversed(hits):
            if _time_of(hit) != last:
                break
            self._at_time.add((hit.index, hit.id))


def _time_of(hit: Any) -> Any:
    return msgspec.json.decode(hit.sort)[0]
