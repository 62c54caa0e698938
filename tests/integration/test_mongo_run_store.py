"""The MongoDB store over a socket: the contract, and what is its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blocks.mongo.connection import MongoConnection
from blocks.mongo.run_store import MongoRunStore
from tests.contracts.run_store import RunStoreContract


@pytest.fixture
def store(mongo: MongoConnection) -> Iterator[MongoRunStore]:
    store = MongoRunStore(mongo)
    yield store
    store.close()


@pytest.fixture
def opening(mongo: MongoConnection) -> str:
    return (
        "from blocks.mongo.connection import MongoConnection\n"
        "from blocks.mongo.run_store import MongoRunStore\n"
        f"store = MongoRunStore(MongoConnection({mongo.url!r}, database={mongo.database!r}))"
    )


class TestContract(RunStoreContract):
    pass
