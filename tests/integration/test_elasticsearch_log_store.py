"""Logs in Elasticsearch: the contract, and what only a server can get wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from blocks.elasticsearch.connection import connect
from blocks.elasticsearch.settings import ElasticsearchSettings
from blocks.elasticsearch.store import ElasticsearchLogStore
from blocks.elasticsearch.template import MAPPINGS
from tests.contracts.log_store import LogStoreContract, StoreOf


@pytest.fixture(scope="module")
def client(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with connect(ElasticsearchSettings(hosts=(elasticsearch_url,))) as client:
        yield client


@pytest.fixture
def load(client: Elasticsearch, elasticsearch_index: str) -> Callable[..., str]:
    """Puts records into a new index and says its name."""
    made = []

    def into_new_index(records: Sequence[Any], mappings: dict[str, Any] = MAPPINGS) -> str:
        name = f"{elasticsearch_index}-{len(made)}"
        made.append(name)
        client.indices.create(index=name, mappings=mappings)
        if records:
            operations = [part for record in records for part in ({"index": {}}, record)]
            answer = client.bulk(index=name, operations=operations, refresh=True)
            assert not answer["errors"], answer
        return name

    return into_new_index


class TestElasticsearch(LogStoreContract):
    @pytest.fixture
    def store_of(self, elasticsearch_with_composite: str, load: Callable[..., str]) -> StoreOf:
        def make(records: Sequence[Any]) -> ElasticsearchLogStore:
            index = load(records)
            return ElasticsearchLogStore(
                ElasticsearchSettings(hosts=(elasticsearch_with_composite,), index=index)
            )

        return make
