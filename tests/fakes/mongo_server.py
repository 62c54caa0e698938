"""A small server that speaks MongoDB's protocol, for tests that have no $MONGODB_URL."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

from secantus import SecantusDBServer


@contextlib.contextmanager
def mongo_server(**options: object) -> Iterator[SecantusDBServer]:
    """Start one on a free port, with its files in a directory that goes with it; `uri` is its address."""
    with (
        tempfile.TemporaryDirectory() as directory,
        SecantusDBServer(port=0, storage_path=directory, cache_size="64M", **options) as server,
    ):
        yield server
