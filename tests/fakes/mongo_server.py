"""A small server that speaks MongoDB's protocol, for tests that have no $MONGODB_URL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pymongo import MongoClient
from secantus import SecantusDBServer


@contextlib.contextmanager
def mongo_server(directory: Path, **options: object) -> Iterator[SecantusDBServer]:
    """Start one on a free port with its files in `directory`; `uri` is its address."""
    with SecantusDBServer(port=0, storage_path=str(directory), cache_size="64M", **options) as server:
        yield server


@contextlib.contextmanager
def mongo_server_with_a_user(directory: Path, name: str, password: str) -> Iterator[SecantusDBServer]:
    """One that lets nobody in but this user."""
    with mongo_server(directory) as open_to_all, MongoClient(open_to_all.uri) as client:
        client.admin.command("createUser", name, pwd=password, roles=["root"])
    with mongo_server(directory, require_auth=True) as server:
        yield server
