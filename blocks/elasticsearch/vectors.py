"""Vectors searched by Elasticsearch: an index of their own for as long as they are searched.

The index compares with every vector (`flat`), since graphs and shortened numbers, which Elasticsearch would choose by
itself, find most neighbours and not all. It is deleted when the search is done; one that a killed process has left is
deleted by whoever searches a day later.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from blocks.elasticsearch.connection import connect
from blocks.elasticsearch.failures import translated
from blocks.elasticsearch.settings import ElasticsearchSettings
from flywheel.datasets.neighbours import Hit, VectorIndex
from flywheel.datasets.similarity import Floats
from flywheel.errors import DataError, RemoteRejected, TransientRemoteError

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

PREFIX = "flywheel-vectors-"
MOST_NEIGHBOURS = 10_000
"""Elasticsearch's own bound on neighbours, and on hits of one answer."""
BATCH_BYTES = 5_000_000
NUMBER_BYTES = 22
"""What a number of a vector takes as JSON, at most."""


class ElasticsearchVectors:
    """A `VectorSearch` of Elasticsearch 8.13 or later.

    Args:
        settings: Where it is; its `index` is not touched.
        left_behind_seconds: Age from which an index of ours is one that nobody uses any more.
    """

    def __init__(self, settings: ElasticsearchSettings, left_behind_seconds: float = 86_400.0) -> None:
        self.settings = dataclasses.replace(settings, index=f"{PREFIX}*")
        self._left_behind_seconds = left_behind_seconds

    @contextmanager
    def index(self, vectors: Floats, classes: Sequence[str]) -> Iterator[VectorIndex]:
        """See `VectorSearch.index`."""
        with self._advised(), connect(self.settings) as client:
            _delete_older(client, self._left_behind_seconds)
            name = _name(vectors, classes)
            _create(client, name, vectors.shape[1])
            try:
                _fill(client, name, vectors, classes)
                yield _Index(client, name)
            finally:
                client.indices.delete(index=name, ignore_unavailable=True)

    @contextmanager
    def _advised(self) -> Iterator[None]:
        try:
            with translated(self.settings):
                yield
        except (RemoteRejected, DataError) as error:
            raise type(error)(
                f"{error} Searching vectors needs Elasticsearch 8.13 or later, vectors of at most 4,096 numbers, and "
                f"on {PREFIX}* the privileges create_index, write, read, view_index_metadata and delete_index; "
                "icl_config.embedder.search=exact needs none of it."
            ) from error


class _Index:
    """One filled index."""

    def __init__(self, client: Elasticsearch, name: str) -> None:
        self._client = client
        self._name = name

    def nearest(self, query: Floats, classes: Collection[str], most: int) -> list[Hit]:
        """See `VectorIndex.nearest`."""
        wanted = min(most, MOST_NEIGHBOURS)
        answer = self._client.search(
            index=self._name,
            knn={
                "field": "vector",
                "query_vector": query.tolist(),
                "k": wanted,
                "num_candidates": wanted,
                "filter": {"terms": {"answer_class": list(classes)}},
            },
            size=wanted,
            source=False,
            allow_partial_search_results=False,
        )
        # its score of unit vectors is (1 + cosine) / 2
        return [(int(hit["_id"]), 2 * hit["_score"] - 1) for hit in answer["hits"]["hits"]]


def _name(vectors: Floats, classes: Sequence[str]) -> str:
    """Of the content, and of this one use: two runs may search the same vectors, and each deletes its own."""
    digest = hashlib.sha256(np.ascontiguousarray(vectors).tobytes())
    digest.update("\0".join(classes).encode())
    return f"{PREFIX}{digest.hexdigest()[:16]}-{uuid.uuid4().hex[:8]}"


def _create(client: Elasticsearch, name: str, dimensions: int) -> None:
    from elasticsearch import BadRequestError

    vector = {
        "type": "dense_vector",
        "dims": dimensions,
        "index": True,
        "similarity": "dot_product",
        "index_options": {"type": "flat"},
    }
    try:
        client.indices.create(
            index=name,
            # one shard: the neighbours of several would be merged from approximations
            settings={"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "-1"},
            mappings={
                "dynamic": False,
                "_source": {"enabled": False},
                "properties": {"vector": vector, "answer_class": {"type": "keyword"}},
            },
        )
    except BadRequestError as error:
        if error.error != "resource_already_exists_exception":  # ours: the answer to the first try was lost
            raise


def _fill(client: Elasticsearch, name: str, vectors: Floats, classes: Sequence[str]) -> None:
    """A document for each vector, under its position; what has no vector is left out."""
    known = np.flatnonzero(~np.isnan(vectors[:, 0])).tolist()
    rows = max(1, BATCH_BYTES // (NUMBER_BYTES * vectors.shape[1]))
    for start in range(0, len(known), rows):
        operations: list[dict[str, Any]] = []
        for position in known[start : start + rows]:
            operations.append({"index": {"_id": str(position)}})
            operations.append({"vector": vectors[position].tolist(), "answer_class": classes[position]})
        _check(client.bulk(index=name, operations=operations).body)
    client.indices.refresh(index=name)


def _check(answer: dict[str, Any]) -> None:
    if not answer["errors"]:
        return
    failed = next(item["index"] for item in answer["items"] if "error" in item["index"])
    reason = f"{failed['error'].get('type')}: {failed['error'].get('reason')} ({failed['status']})"
    if failed["status"] in (429, 503):
        raise TransientRemoteError(f"Elasticsearch was too busy to take vectors, {reason}; try again later.")
    raise RemoteRejected(f"Elasticsearch did not take a vector, {reason}.")


def _delete_older(client: Elasticsearch, seconds: float) -> None:
    oldest = 1000 * (time.time() - seconds)
    found = client.indices.get_settings(index=f"{PREFIX}*", name="index.creation_date").body
    for name, about in found.items():
        if float(about["settings"]["index"]["creation_date"]) < oldest:
            client.indices.delete(index=name, ignore_unavailable=True)
