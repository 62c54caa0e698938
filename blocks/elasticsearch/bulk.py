"""Loading documents through the bulk API, several requests under way at once.

Documents are created under their ids and never overwritten: one that is there already is counted and left alone. A
server that is busy (429) slows the reading of the files down, since no more than a few batches are held.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from elastic_transport import JsonSerializer

from blocks.elasticsearch.documents import Document
from blocks.elasticsearch.transport import FIRST_PAUSE, LONGEST_PAUSE
from flywheel.errors import TransientRemoteError

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

CREATED = frozenset({200, 201})
EXISTING = 409
BUSY = frozenset({429, 502, 503, 504})
TOO_LARGE = 413
_FILTER = "items.create.status,items.create.error.type,items.create.error.reason"
_LONGEST_DETAIL = 500


class _Cause(msgspec.Struct):
    type: str = "error"
    reason: str | None = None


class _Result(msgspec.Struct):
    status: int
    error: _Cause | None = None


class _Item(msgspec.Struct):
    create: _Result


class _Answer(msgspec.Struct):
    items: list[_Item]


class RefusedDocument(msgspec.Struct, frozen=True):
    """A document that Elasticsearch will not take, and what it says."""

    document: Document
    detail: str


class Loaded(msgspec.Struct):
    """What became of one batch: `created` are new, `existing` were there before."""

    created: list[Document]
    existing: list[Document]
    refused: list[RefusedDocument]


class BulkSerializer(JsonSerializer):
    """Reads the answer to a bulk request as one typed value, and everything else as plain JSON."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(_Answer)

    def loads(self, data: bytes) -> Any:
        """See `elastic_transport.Serializer`."""
        try:
            return self._decoder.decode(data)
        except msgspec.DecodeError:
            return super().loads(data)


def bulk_serializers() -> dict[str, JsonSerializer]:
    """What the client of a `BulkLoader` is to be built with."""
    return {kind: BulkSerializer() for kind in ("application/json", "application/vnd.elasticsearch+json")}


class BulkLoader:
    """Sends documents to one index.

    Args:
        client: Built with `bulk_serializers()`; its transport tries again what fails as a whole.
        index: Index, alias or data stream that takes documents.
        threads: Requests under way at once.
        batch_records, batch_bytes: A batch ends at whichever comes first.
        attempts: Tries for a document that the server is too busy for, as long as none of its batch gets through.
        first_pause: Seconds before the second try; each further one doubles it.
    """

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        *,
        threads: int = 4,
        batch_records: int = 1_000,
        batch_bytes: int = 5_000_000,
        attempts: int = 8,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._client = client
        self._index = index
        self._threads = threads
        self._batch_records = batch_records
        self._batch_bytes = batch_bytes
        self._attempts = attempts
        self._first_pause = first_pause

    def load(self, documents: Iterable[Document]) -> Iterator[Loaded]:
        """Yield what became of each batch, in the order of the documents. Memory holds a few batches.

        Raises: TransientRemoteError when the server stays too busy; what the client raises comes through. What was
            yielded before is loaded.
        """
        pending: deque[Future[Loaded]] = deque()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="bulk")
        try:
            for batch in self._batches(documents):
                pending.append(pool.submit(self._send, batch))
                while len(pending) > self._threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _batches(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        batch: list[Document] = []
        size = 0
        for document in documents:
            if batch and (len(batch) >= self._batch_records or size + len(document.body) > self._batch_bytes):
                yield batch
                batch, size = [], 0
            batch.append(document)
            size += len(document.body)
        if batch:
            yield batch

    def _send(self, batch: Sequence[Document]) -> Loaded:
        loaded = Loaded([], [], [])
        attempt = 1
        while True:
            busy = self._try(batch, loaded)
            if not busy:
                return loaded
            attempt = attempt + 1 if len(busy) == len(batch) else 1
            if attempt > self._attempts:
                raise TransientRemoteError(
                    f"Elasticsearch was too busy for {len(busy)} documents after {self._attempts} attempts; load the "
                    "same files again when it is less busy: what is there already is left alone."
                )
            time.sleep(min(self._first_pause * 2 ** (attempt - 1), LONGEST_PAUSE))
            batch = busy

    def _try(self, batch: Sequence[Document], loaded: Loaded) -> list[Document]:
        """Send a batch once, and add what became of it; returns what the server was too busy for."""
        from elasticsearch import ApiError

        try:
            answer: Any = self._client.perform_request(
                "POST",
                f"/{quote(self._index, safe='')}/_bulk",
                params={"filter_path": _FILTER},
                headers={"accept": "application/json", "content-type": "application/x-ndjson"},
                body=b"".join([b'{"create":{"_id":"%s"}}\n%s\n' % (d.id.encode(), d.body) for d in batch]),
            ).body
        except ApiError as error:
            if error.meta.status != TOO_LARGE:
                raise
            return self._halved(batch, loaded)
        if not isinstance(answer, _Answer) or len(answer.items) != len(batch):
            raise TransientRemoteError(
                "Elasticsearch answered a bulk request with something else; check that no proxy stands between."
            )
        busy = []
        for document, item in zip(batch, answer.items, strict=True):
            result = item.create
            if result.status in CREATED:
                loaded.created.append(document)
            elif result.status == EXISTING:
                loaded.existing.append(document)
            elif result.status in BUSY:
                busy.append(document)
            else:
                loaded.refused.append(RefusedDocument(document, _detail(result)))
        return busy

    def _halved(self, batch: Sequence[Document], loaded: Loaded) -> list[Document]:
        if len(batch) == 1:
            loaded.refused.append(
                RefusedDocument(batch[0], "Elasticsearch takes no request of its size (413)")
            )
            return []
        middle = len(batch) // 2
        return self._try(batch[:middle], loaded) + self._try(batch[middle:], loaded)


def _detail(result: _Result) -> str:
    cause = result.error or _Cause()
    text = " ".join(f"{cause.type}: {cause.reason or 'no reason given'} ({result.status})".split())
    return text if len(text) <= _LONGEST_DETAIL else text[:_LONGEST_DETAIL] + "…"
