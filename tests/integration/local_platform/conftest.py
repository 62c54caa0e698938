"""A model that is made once and only read, and a platform that leaves no process behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from blocks.local_platform.platform import LocalPlatform
from tests.fakes.toy_model import write_toy_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_toy_model(tmp_path_factory.mktemp("toy") / "model", weights=True))


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    platform = LocalPlatform(tmp_path, startup_seconds=300)
    yield platform
    for place in (tmp_path / "deployments").glob("*"):
        await platform.shut_down(place.name)
    for place in (tmp_path / "jobs").glob("*"):
        await platform.cancel_fine_tune(place.name)
