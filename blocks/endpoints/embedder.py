"""Vectors from an embeddings endpoint (`/v1/embeddings`), kept in the dataset store by the content of the texts."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from blocks.connections import saved_connection
from blocks.endpoints.chat_answers import document_of, excerpt
from blocks.endpoints.endpoint_client import EndpointClient, count_of
from blocks.endpoints.endpoint_limits import Bounds
from blocks.ports import DatasetStore, Endpoint
from flywheel.config import EmbedderConfig
from flywheel.datasets.embedding import Embedder, TextKind, unit_rows
from flywheel.datasets.neighbours import VectorSearch
from flywheel.datasets.similarity import Floats
from flywheel.errors import ConfigError, DatasetError, EndpointRefused, RemoteRejected, TransientRemoteError
from flywheel.progress import Progress

STAGE = "embed"
VECTORS_FILE = "vectors.npy"
SHORTEST = 200
"""Characters below which a text that is too long for the model is not cut further."""

Vector = list[float]


class EndpointEmbedder:
    """Asks in batches, several at once. A text that the endpoint refuses loses its own vector and no other's."""

    def __init__(self, config: EmbedderConfig, first_pause: float = 0.5) -> None:
        self._config = config
        self._first_pause = first_pause
        self._endpoint = Endpoint(config.base_url, config.model, config.api_key_env or None)

    def embed(self, texts: Sequence[str], kind: TextKind, progress: Progress) -> Floats:
        """See `Embedder.embed`. It runs an event loop of its own: call it where none runs, such as in a thread."""
        return asyncio.run(self._embed(texts, kind, progress))

    async def _embed(self, texts: Sequence[str], kind: TextKind, progress: Progress) -> Floats:
        config = self._config
        # An empty text has no meaning to find, and most endpoints refuse the whole batch for it.
        wanted = [position for position, text in enumerate(texts) if text.strip()]
        size = config.batch_size
        batches = iter([wanted[start : start + size] for start in range(0, len(wanted), size)])
        found: dict[int, Vector] = {}
        done = 0
        async with EndpointClient(
            self._endpoint,
            "/embeddings",
            timeout_seconds=config.timeout_seconds,
            max_attempts=config.max_attempts,
            bounds=Bounds(config.concurrency, config.requests_per_minute, config.tokens_per_minute),
            first_pause=self._first_pause,
        ) as client:
            asking = _Asking(client, config.model, kind)

            async def work() -> None:
                nonlocal done
                for batch in batches:
                    vectors = await asking.vectors([texts[i][-config.most_characters :] for i in batch])
                    found.update((i, v) for i, v in zip(batch, vectors, strict=True) if v is not None)
                    done += len(batch)
                    progress(f"{STAGE} {kind} texts", done, len(wanted))

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(config.concurrency):
                        group.create_task(work())
            except BaseExceptionGroup as several:
                raise several.exceptions[0] from None
        return self._matrix(len(texts), found, asking.last_refusal)

    def _matrix(self, rows: int, found: dict[int, Vector], refusal: RemoteRejected | None) -> Floats:
        if not found:
            said = f": {refusal}" if refusal else ", for there is no text in them"
            raise RemoteRejected(
                f"The embedder {self._config.model!r} made no vector of any of {rows} texts{said}"
            )
        lengths = {len(vector) for vector in found.values()}
        if len(lengths) != 1:
            raise RemoteRejected(
                f"The embedder {self._config.model!r} gave vectors of different lengths: {sorted(lengths)}"
            )
        matrix = np.full((rows, lengths.pop()), np.nan, np.float32)
        for position, vector in found.items():
            matrix[position] = vector
        return unit_rows(matrix)


class _Asking:
    """The requests of one kind of texts."""

    def __init__(self, client: EndpointClient, model: str, kind: TextKind) -> None:
        self._client = client
        self._model = model
        self._kind = kind
        self._says_kind = True
        self.last_refusal: RemoteRejected | None = None

    async def vectors(self, texts: list[str]) -> list[Vector | None]:
        """A vector for each text, None where the endpoint refuses it."""
        try:
            return list(await self._ask(texts))
        except EndpointRefused:
            raise
        except RemoteRejected as refusal:
            if self._says_kind and "input_type" in str(refusal):
                self._says_kind = False  # symmetric models know no such thing, and some servers mind
                return await self.vectors(texts)
            self.last_refusal = refusal
        if len(texts) > 1:  # find whose fault it is
            half = len(texts) // 2
            return [*await self.vectors(texts[:half]), *await self.vectors(texts[half:])]
        if "does not fit" in str(self.last_refusal) and len(texts[0]) > SHORTEST:
            return await self.vectors([texts[0][len(texts[0]) // 2 :]])
        return [None]

    async def _ask(self, texts: list[str]) -> list[Vector]:
        body: dict[str, Any] = {"model": self._model, "input": texts, "encoding_format": "float"}
        if self._says_kind:
            body["input_type"] = self._kind

        def read(status: int, content: bytes, url: str) -> tuple[list[Vector], int | None]:
            document = document_of(status, content, url)
            return _vectors(document, len(texts), content, url), count_of(document, "total_tokens")

        data = msgspec.json.encode(body)
        answered = await self._client.post(data, read, tokens=len(data) // 4, used=lambda made: made[1])
        return answered.value[0]


def _vectors(document: dict[str, Any], count: int, content: bytes, url: str) -> list[Vector]:
    """The vectors in the order of the texts; servers may give them in any, with an index."""
    vectors: list[Vector | None] = [None] * count
    data = document.get("data")
    for position, entry in enumerate(data if isinstance(data, list) else ()):
        index = entry.get("index", position) if isinstance(entry, dict) else None
        vector = entry.get("embedding") if isinstance(entry, dict) else None
        if isinstance(index, int) and 0 <= index < count and _is_vector(vector):
            vectors[index] = vector
    whole = [vector for vector in vectors if vector is not None]
    if len(whole) != count:
        raise TransientRemoteError(f"{url} gave {len(whole)} vectors for {count} texts: {excerpt(content)}")
    return whole


def _is_vector(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(number, int | float) and math.isfinite(number) for number in value)
    )


class StoredVectors:
    """An embedder whose vectors are looked for in the dataset store first, and kept there."""

    def __init__(self, embedder: Embedder, name: dict[str, Any], store: DatasetStore) -> None:
        """
        Args:
            name: What the vectors depend on beside the texts: address, model, and how texts are cut.
        """
        self._embedder = embedder
        self._name = name
        self._store = store

    def embed(self, texts: Sequence[str], kind: TextKind, progress: Progress) -> Floats:
        """See `Embedder.embed`."""
        digest = hashlib.sha256()
        for text in texts:
            digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        key = {**self._name, "kind": kind, "texts": digest.hexdigest()}
        found = self._store.find("vectors", key)
        if found is None:
            vectors = self._embedder.embed(texts, kind, progress)
            with self._store.create("vectors", key) as staging:
                np.save(staging.path / VECTORS_FILE, vectors, allow_pickle=False)
                staging.counts = {"texts": len(texts), "without": int(np.isnan(vectors[:, 0]).sum())}
            return vectors
        stored: Floats = np.load(self._store.open(found) / VECTORS_FILE, allow_pickle=False)
        if len(stored) != len(texts):
            raise DatasetError(f"The stored vectors {found.name} are not those of these texts; delete them.")
        return stored


def stored_embedder(config: EmbedderConfig, store: DatasetStore) -> Embedder | None:
    """The embedder of the settings with its store; None where there is none."""
    if not config.base_url:
        return None
    name = {"base_url": config.base_url, "model": config.model, "most_characters": config.most_characters}
    return StoredVectors(EndpointEmbedder(config), name, store)


async def vector_search(config: EmbedderConfig) -> VectorSearch | None:
    """What `search` of the settings names; None for 'exact', which needs nothing from outside.

    Raises: ConfigError.
    """
    if config.search == "exact":
        return None
    from blocks.elasticsearch.settings import settings_from_environment
    from blocks.elasticsearch.store import ElasticsearchLogStore
    from blocks.elasticsearch.vectors import ElasticsearchVectors

    if config.search == "elasticsearch":
        return ElasticsearchVectors(settings_from_environment(os.environ))
    found = await saved_connection(config.search, "icl_config.embedder.search")
    if not isinstance(found, ElasticsearchLogStore):
        raise ConfigError(
            f"icl_config.embedder.search names the block {config.search!r}, which is no Elasticsearch; use 'exact', "
            "'elasticsearch' or a saved block of the type Flywheel Elasticsearch Logs."
        )
    return ElasticsearchVectors(found.settings)
