"""Adapters of the local platform on a server that speaks vLLM's API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks.connections import open_platform
from blocks.local_platform.models.chat_format import ChatFormat
from blocks.openai_platform.connection import Connection
from blocks.openai_platform.vllm import VllmPlatform
from flywheel.config import CandidateConfig, ConnectionsConfig
from flywheel.errors import ConfigError, RemoteRejected
from flywheel.evaluation.parity import compare_renderings
from flywheel.progress import silent
from flywheel.results import Customization
from tests.fakes.openai_provider import OpenAIProvider
from tests.fakes.toy_model import write_toy_model

ROWS = [
    {
        "messages": [
            {"role": "system", "content": "You route."},
            {"role": "user", "content": f"where is order {n}?"},
            {"role": "assistant", "content": f"It is in Bern, {n}."},
        ],
        "tools": [],
    }
    for n in range(3)
]


@pytest.fixture
def provider() -> Iterator[OpenAIProvider]:
    with OpenAIProvider() as server:
        yield server


def platform(provider: OpenAIProvider, home: Path, seen_as: str = "") -> VllmPlatform:
    connection = Connection(provider.url, startup_seconds=60, timeout_seconds=60, first_pause=0.01)
    return VllmPlatform(connection, home, seen_as)


def trained(home: Path, job: str = "fw-run-small-0123") -> Customization:
    return Customization(job=job, model=job, status="completed", adapter=str(home / "jobs" / job / "adapter"))


async def test_several_adapters_are_served_on_one_base_and_unloaded_with_their_deployment(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    serving = platform(provider, tmp_path)
    await serving.deploy("fw-run-a", CandidateConfig(model="small-a"), silent)
    first = await serving.serve_customization("fw-run-a", trained(tmp_path, "job-1"))
    again = await serving.serve_customization("fw-run-a", trained(tmp_path, "job-1"))
    other = await serving.serve_customization("fw-run-b", trained(tmp_path, "job-2"))
    assert first == again
    assert {first.model, other.model} < set(provider.models)
    assert provider.models[first.model]["root"] == str(tmp_path / "jobs/job-1/adapter")
    await serving.shut_down("fw-run-a")
    await serving.shut_down("fw-run-a")
    assert first.model not in provider.models
    assert other.model in provider.models
    assert "small-a" in provider.models


async def test_the_servers_own_path_to_the_adapters_is_used(provider: OpenAIProvider, tmp_path: Path) -> None:
    served = await platform(provider, tmp_path, "/mnt/flywheel").serve_customization("d", trained(tmp_path))
    assert provider.models[served.model]["root"] == "/mnt/flywheel/jobs/fw-run-small-0123/adapter"
    with pytest.raises(ConfigError, match="is not below"):
        await platform(provider, tmp_path / "x", "/mnt").serve_customization("e", trained(tmp_path))


async def test_a_fine_tune_without_an_adapter_cannot_be_served(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    with pytest.raises(RemoteRejected, match="left no adapter"):
        await platform(provider, tmp_path).serve_customization("d", Customization(job="j"))


async def test_equal_renderings_are_told_from_different_ones_by_their_tokens(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    write_toy_model(tmp_path / "toy")
    (tmp_path / "toy" / "model.safetensors").touch()  # weights are not read for this
    model = str(tmp_path / "toy")
    chat_format = ChatFormat(tmp_path / "toy")
    provider.tokenize = lambda body: chat_format.prompt(body["messages"], body.get("tools"))
    alike = compare_renderings(await platform(provider, tmp_path).renderings(model, ROWS))
    assert alike.equal
    assert alike.rows == 3

    def shouting(body: dict[str, Any]) -> list[int]:
        messages = [{**m, "content": m["content"].replace("order", "ORDER")} for m in body["messages"]]
        return chat_format.prompt(messages)

    provider.tokenize = shouting
    report = compare_renderings(await platform(provider, tmp_path).renderings(model, ROWS))
    assert len(report.differences) == 3
    assert ("".join(report.differences[1].training), "".join(report.differences[1].serving)) == (
        "order",
        "ORDER",
    )
    assert report.differences[1].before.endswith("here is ")


async def test_the_server_comes_from_the_environment(
    provider: OpenAIProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_BASE_URL", provider.url)
    found = await open_platform(ConnectionsConfig(platform="vllm", home=str(tmp_path)))
    endpoint = await found.deploy("d", CandidateConfig(model="small-a"), silent)
    assert endpoint.base_url == provider.url
