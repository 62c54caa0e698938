"""Processes that serve live, die and are found again. A toy model: what it says does not matter."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from blocks.local_platform.platform import LocalPlatform
from blocks.ports import Endpoint
from flywheel.config import CandidateConfig
from flywheel.errors import RemoteJobFailed, RemoteRejected, TransientRemoteError
from flywheel.evaluation.scoring import mean_logprob_of
from flywheel.progress import silent
from flywheel.results import Customization
from tests.fakes.toy_model import write_toy_model
from tests.integration.local_platform.using import chat, owner, process, request, until

pytestmark = pytest.mark.slow


async def test_a_deployment_speaks_the_chat_protocol_on_loopback(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    candidate = CandidateConfig(name="c", model=model)
    endpoint = await platform.deploy("../../etc/a b", candidate, silent)
    assert endpoint.base_url.startswith("http://127.0.0.1:")
    assert [place.parent for place in (tmp_path / "deployments").glob("*")] == [tmp_path / "deployments"] * 2
    code, answer = await chat(endpoint, max_tokens=5)
    assert code == 200
    assert answer["usage"]["completion_tokens"] <= 5
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    assert answer["choices"][0]["logprobs"] is None
    sure = (await chat(endpoint, max_tokens=5, logprobs=True))[1]["choices"][0]
    assert sure["message"] == answer["choices"][0]["message"]
    assert 0 < len(sure["logprobs"]["content"]) <= 5
    assert -20 < (mean_logprob_of(sure) or 0) < 0
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{endpoint.base_url}/models") as response:
            assert [entry["id"] for entry in (await response.json())["data"]] == [model]
        async with session.post(f"{endpoint.base_url}/chat/completions", data=b"{broken") as response:
            assert response.status == 400
            assert "JSON" in (await response.json())["error"]["message"]
        async with session.get(f"{endpoint.base_url}/nothing") as response:
            assert response.status == 404
    assert (await chat(endpoint, "x" * 600))[1]["error"]["code"] == "context_length_exceeded"
    assert (await chat(Endpoint(endpoint.base_url, "another")))[0] == 404
    assert (await chat(endpoint, messages=[{"role": "robot"}]))[0] == 400
    assert await platform.context_length(candidate) == 512
    await platform.shut_down("../../etc/a b")
    with pytest.raises(aiohttp.ClientError):
        await chat(endpoint)


async def test_an_adapter_is_served_beside_its_base(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    endpoint = await platform.deploy("dep", CandidateConfig(name="c", model=model), silent)
    tuned = await platform.fine_tune(request(tmp_path, model, epochs=10, learning_rate=3e-2), silent)
    adapter = await platform.serve_customization("dep", tuned)
    assert await platform.serve_customization("dep", tuned) == adapter
    text = "Question number 3"
    answers = await asyncio.gather(
        *[chat(where, text, max_tokens=9) for where in (endpoint, adapter, endpoint)]
    )
    said = [answer["choices"][0]["message"]["content"] for _, answer in answers]
    assert said[0] == said[2] != said[1]
    assert said[1].startswith("A")
    missing = Customization(job="x", model="x", status="completed", adapter=str(tmp_path / "nowhere"))
    with pytest.raises(RemoteRejected, match="cannot be served"):
        await platform.serve_customization("dep", missing)
    with pytest.raises(TransientRemoteError, match="deploy it again"):
        await platform.serve_customization("no-such-deployment", tuned)


async def test_a_deployment_is_adopted_from_a_dead_owner_and_not_made_twice(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    other = await owner(tmp_path, model, "deploy")
    assert other.stdout is not None
    url = (await asyncio.wait_for(other.stdout.readline(), 300)).decode().strip()
    server = process(tmp_path, "deployments", "dep")
    other.kill()
    await other.wait()
    endpoint = await platform.deploy("dep", CandidateConfig(name="c", model=model), silent)
    assert endpoint.base_url == url
    await asyncio.sleep(12)  # longer than a server outlives its owner: it knows its new one
    assert server.is_alive()
    assert (await chat(endpoint, max_tokens=1))[0] == 200


async def test_a_server_whose_owner_was_killed_ends_by_itself(tmp_path: Path, model: str) -> None:
    other = await owner(tmp_path, model, "deploy")
    assert other.stdout is not None
    await asyncio.wait_for(other.stdout.readline(), 300)
    server = process(tmp_path, "deployments", "dep")
    other.kill()
    await other.wait()
    await until(lambda: not server.is_alive())


async def test_a_server_that_cannot_start_says_why(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    broken = tmp_path / "broken"
    write_toy_model(broken)
    (broken / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(RemoteJobFailed, match="ended while it started"):
        await platform.deploy("dep", CandidateConfig(name="c", model=str(broken)), silent)
    await platform.shut_down("dep")
    await platform.shut_down("dep")
