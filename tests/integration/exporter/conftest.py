"""An exporter that writes to a file of its own, and an HTTP client that logs to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from flywheel_exporter import AsyncLoggedClient, Exporter, JsonlFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


@pytest.fixture
def exporter(path: Path) -> Iterator[Exporter]:
    with Exporter(JsonlFile(path), workload_id="router", client_id="acme", flush_seconds=0.01) as exporter:
        yield exporter


@pytest.fixture
async def http(exporter: Exporter) -> AsyncIterator[AsyncLoggedClient]:
    async with AsyncLoggedClient(exporter) as client:
        yield client
