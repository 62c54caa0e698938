"""A provider on a real socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.openai_provider import OpenAIProvider


@pytest.fixture
def provider() -> Iterator[OpenAIProvider]:
    with OpenAIProvider(key="sk-secret") as server:
        yield server
