"""Servers that the tests of this folder speak to. Each starts once, and only when a test asks for it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from blocks.mongo.connection import MongoConnection
from tests.fakes.composite_search import with_composite
from tests.fakes.elasticsearch_server import elasticsearch_server
from tests.fakes.mongo_server import mongo_server


@pytest.fixture(scope="session")
def elasticsearch_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an Elasticsearch: $ELASTICSEARCH_URL, else a test server of at most 10,000 small records."""
    with elasticsearch_server(tmp_path_factory.mktemp("elasticsearch")) as url:
        yield url


@pytest.fixture(scope="session")
def elasticsearch_with_composite(elasticsearch_url: str) -> Iterator[str]:
    """The same, with the aggregation that discovery needs; a real server has it already."""
    if os.environ.get("ELASTICSEARCH_URL"):
        yield elasticsearch_url
        return
    with with_composite(elasticsearch_url) as url:
        yield url


@pytest.fixture
def elasticsearch_index(elasticsearch_url: str) -> Iterator[str]:
    """An index name nobody else uses. It, and whatever begins with it, is deleted after the test."""
    from elasticsearch import Elasticsearch

    name = f"flywheel-test-{uuid.uuid4().hex[:12]}"
    yield name
    with Elasticsearch(elasticsearch_url) as client:
        for index in client.indices.get(index=f"{name}*", ignore_unavailable=True):
            client.indices.delete(index=index)


@pytest.fixture(scope="session")
def mongodb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a MongoDB: $MONGODB_URL, else a small server in this process."""
    if url := os.environ.get("MONGODB_URL"):
        yield url
        return
    with mongo_server(tmp_path_factory.mktemp("mongodb")) as server:
        yield str(server.uri)


@pytest.fixture
def mongo(mongodb_url: str) -> Iterator[MongoConnection]:
    """A database nobody else uses, dropped after the test."""
    connection = MongoConnection(mongodb_url, database=f"flywheel-test-{uuid.uuid4().hex[:12]}")
    yield connection
    with connection.client() as client:
        client.drop_database(connection.database)
