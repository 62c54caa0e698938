"""Models that a provider serves: where they are, whether they answer, and with which key."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.connections import open_platform
from blocks.openai_platform.block import OpenAICompatible
from blocks.openai_platform.connection import Connection
from blocks.openai_platform.platform import OpenAIPlatform
from flywheel.config import CandidateConfig, ConnectionsConfig
from flywheel.errors import ConfigError, EndpointRefused, TransientRemoteError
from flywheel.progress import silent
from tests.fakes.openai_provider import OpenAIProvider
from tests.integration.openai_platform.asking import CANDIDATE, QUICK, platform, request


async def test_a_wrong_key_is_refused_at_once_and_stands_in_no_error(provider: OpenAIProvider) -> None:
    with pytest.raises(EndpointRefused, match="API key") as caught:
        await platform(provider, key="sk-wrong").deploy("d", CANDIDATE, silent)
    assert "sk-wrong" not in str(caught.value)


async def test_a_wrong_model_name_is_refused_with_the_names_that_are_there(provider: OpenAIProvider) -> None:
    with pytest.raises(EndpointRefused, match="has no model 'smal-a'; it has small-a, small-b"):
        await platform(provider).deploy("d", CandidateConfig(model="smal-a"), silent)


async def test_readiness_is_a_real_completion_within_a_bound(provider: OpenAIProvider) -> None:
    endpoint = await platform(provider).deploy("d", CANDIDATE, silent)
    assert (endpoint.base_url, endpoint.model) == (provider.url, "small-a")
    nobody = OpenAIPlatform(
        Connection("http://127.0.0.1:1/v1", startup_seconds=0.2, timeout_seconds=1, first_pause=0.01)
    )
    with pytest.raises(TransientRemoteError, match="has not answered within 0 s"):
        await nobody.deploy("d", CANDIDATE, silent)


async def test_a_service_that_takes_calls_and_never_answers_costs_bounded_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/v1"
        tuning = OpenAIPlatform(
            Connection(url, startup_seconds=0.2, timeout_seconds=0.05, first_pause=0.01, patience=QUICK)
        )
        async with asyncio.timeout(120):
            with pytest.raises(TransientRemoteError):
                await tuning.deploy("d", CANDIDATE, silent)
            with pytest.raises(TransientRemoteError, match="no answer within"):
                await tuning.fine_tune(request(tmp_path / "t"), silent)


async def test_the_context_length_comes_from_the_service_where_it_states_one(
    provider: OpenAIProvider,
) -> None:
    provider.add_model("long", max_model_len=131_072)
    tuning = platform(provider)
    assert await tuning.context_length(CandidateConfig(model="long")) == 131_072
    assert await tuning.context_length(CandidateConfig(model="long", context_length=4096)) == 4096
    assert await tuning.context_length(CANDIDATE) == 8_192


async def test_the_platform_comes_from_the_environment(
    provider: OpenAIProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    found = await open_platform(ConnectionsConfig(platform="openai"))
    endpoint = await found.deploy("d", CANDIDATE, silent)
    assert endpoint.api_key_env == "OPENAI_API_KEY"
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        await open_platform(ConnectionsConfig(platform="openai"))


async def test_a_block_holds_the_key_and_shows_it_nowhere(provider: OpenAIProvider) -> None:
    block = OpenAICompatible(base_url=provider.url, api_key=SecretStr("sk-secret"))
    endpoint = await block.connect().deploy("d", CANDIDATE, silent)
    assert endpoint.api_key_env is None
    assert "sk-secret" not in repr(block) + str(endpoint)
    assert block.connect().api_key == "sk-secret"
