"""A database that is made current before its first use and waited for when it is away."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pymongo
from pymongo.errors import PyMongoError

from blocks.mongo.connection import MongoConnection
from blocks.mongo.faults import with_patience
from blocks.mongo.schema import prepare

T = TypeVar("T")

_GOODBYE_SECONDS = 1.0


class MongoSession:
    """Calls on one database, from any thread. Connects at the first call, and again after `close`."""

    def __init__(self, connection: MongoConnection) -> None:
        self.place = connection.place
        self._connection = connection
        self._lock = threading.Lock()
        self._client: Any = None
        self._is_prepared = False

    def call(self, work: Callable[[Any], T]) -> T:
        """What `work` makes of the database; it may be called again after it had its effect.

        Raises: see `blocks.mongo.faults.explained`, and ConfigError for the address.
        """
        return with_patience(lambda: work(self._database()), self.place, self._connection.patience_seconds)

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(PyMongoError), pymongo.timeout(_GOODBYE_SECONDS):
                client.close()  # says goodbye to the server, which may be away

    def _database(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connection.client()
            database = self._client[self._connection.database_name]
        if not self._is_prepared:  # two threads may do it at once
            prepare(database, self.place)
            self._is_prepared = True
        return database
