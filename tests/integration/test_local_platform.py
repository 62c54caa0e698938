"""Worker processes of the local platform live, die, and are found again. A toy model: what it says does not matter."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import torch

from blocks.local_platform.adapters import merged
from blocks.local_platform.atomic_json import read_json
from blocks.local_platform.job_files import JobStatus
from blocks.local_platform.model_loading import load_model
from blocks.local_platform.platform import LocalPlatform
from blocks.local_platform.processes import ProcessRef
from blocks.ports import Endpoint, FineTuneRequest
from flywheel.config import CandidateConfig, LoraConfig, TrainingConfig
from flywheel.errors import RemoteJobFailed, RemoteJobTimedOut, RemoteRejected, TransientRemoteError
from flywheel.progress import silent
from flywheel.results import Customization
from tests.fakes.toy_model import write_toy_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_toy_model(tmp_path_factory.mktemp("toy") / "model", weights=True))


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    platform = LocalPlatform(tmp_path, startup_seconds=120)
    yield platform
    for place in (tmp_path / "deployments").glob("*"):
        await platform.shut_down(place.name)
    for place in (tmp_path / "jobs").glob("*"):
        await platform.cancel_fine_tune(place.name)


def request(
    folder: Path, model: str, *, name: str = "job", rows: int = 12, **training: Any
) -> FineTuneRequest:
    train = folder / "train"
    train.mkdir(exist_ok=True)
    lines = [
        json.dumps(
            {
                "messages": [
                    {"role": "user", "content": f"Question number {row}"},
                    {"role": "assistant", "content": f"Answer {row}"},
                ],
                "tools": [],
            }
        )
        for row in range(rows)
    ]
    (train / "training.jsonl").write_text("\n".join(lines))
    (train / "validation.jsonl").write_text("\n".join(lines[:2]))
    settings = TrainingConfig(**{"epochs": 4, "batch_size": 1, **training})
    return FineTuneRequest(
        name=name, model=model, train=train, training=settings, lora=LoraConfig(adapter_dim=4)
    )


async def until(condition: Callable[[], Any], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def status(home: Path, job: str = "job") -> JobStatus:
    return read_json(home / "jobs" / job / "status.json", JobStatus) or JobStatus()


def process(home: Path, kind: str = "jobs", name: str = "job") -> ProcessRef:
    found = read_json(home / kind / name / "process.json", ProcessRef)
    assert found is not None
    return found


async def chat(endpoint: Endpoint, text: str = "Hello", **body: Any) -> tuple[int, dict[str, Any]]:
    asked = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        **body,
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{endpoint.base_url}/chat/completions", json=asked) as response,
    ):
        return response.status, await response.json()


# --- fine-tuning -----------------------------------------------------------------------------------------------


async def test_a_fine_tune_leaves_an_adapter_that_peft_loads_and_its_name_trains_once(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    reports: list[tuple[str, int, int | None]] = []
    result = await platform.fine_tune(
        request(tmp_path, model), lambda stage, done, total, detail="": reports.append((stage, done, total))
    )
    assert (result.status, result.train_rows, result.skipped_rows) == ("completed", 12, 0)
    assert result.val_loss is not None
    assert [point.step for point in result.losses] == list(range(1, len(result.losses) + 1))
    assert result.losses[-1].validation == result.val_loss
    assert result.tokens > 0
    assert reports[-1] == ("fine-tune job", 48, 48)
    assert result.adapter is not None
    adapted = merged(load_model(Path(model), torch.device("cpu"), torch.float32), Path(result.adapter))
    base = load_model(Path(model), torch.device("cpu"), torch.float32)
    assert not torch.equal(
        adapted.model.layers[0].mlp.up_proj.weight, base.model.layers[0].mlp.up_proj.weight
    )
    card = json.loads((Path(result.adapter) / "card.json").read_text())
    assert card["base_model"] == model
    assert len(card["data_sha256"]) == len(card["base_weights_sha256"]) == 64
    assert card["training_config"]["epochs"] == 4

    before = process(tmp_path)
    again = await LocalPlatform(tmp_path).fine_tune(request(tmp_path, model), silent)
    assert (again, process(tmp_path)) == (result, before)
    # A name must never hide that the settings changed.
    with pytest.raises(RemoteRejected, match="another name"):
        await platform.fine_tune(request(tmp_path, model, epochs=2), silent)


async def test_a_cancelled_fine_tune_is_gone_and_ends_as_if_it_had_never_stopped_when_resumed(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    whole = await platform.fine_tune(request(tmp_path, model, name="whole", epochs=6), silent)
    running = asyncio.create_task(platform.fine_tune(request(tmp_path, model, epochs=6), silent))
    await until(lambda: status(tmp_path).step >= 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not process(tmp_path).is_alive()
    stopped = status(tmp_path)
    assert stopped.state == "cancelled"
    assert stopped.step < stopped.total_steps
    resumed = await platform.fine_tune(request(tmp_path, model, epochs=6), silent)
    assert "resumed at step" in (tmp_path / "jobs" / "job" / "log.txt").read_text()
    assert adapter_bytes(resumed) == adapter_bytes(whole)


def adapter_bytes(customization: Customization) -> bytes:
    assert customization.adapter is not None
    return (Path(customization.adapter) / "adapter_model.safetensors").read_bytes()


async def test_a_killed_training_process_is_resumed_from_its_checkpoint(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    running = asyncio.create_task(platform.fine_tune(request(tmp_path, model, epochs=8), silent))
    await until(lambda: status(tmp_path).epoch >= 3)
    first = process(tmp_path)
    os.kill(first.pid, signal.SIGKILL)
    result = await running
    assert result.status == "completed"
    assert process(tmp_path) != first
    log = (tmp_path / "jobs" / "job" / "log.txt").read_text()
    assert "resumed at step" in log


OWNER = """
import asyncio, sys, json
from pathlib import Path
from blocks.local_platform.platform import LocalPlatform
from flywheel.progress import silent
from flywheel.config import CandidateConfig
import msgspec
from blocks.ports import FineTuneRequest
from flywheel.config import LoraConfig, TrainingConfig

async def main():
    home, model, what = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    platform = LocalPlatform(home)
    if what == "deploy":
        print((await platform.deploy("dep", CandidateConfig(name="c", model=model), silent)).base_url, flush=True)
        await asyncio.sleep(600)
    training = TrainingConfig(epochs=12, batch_size=1)
    lora = LoraConfig(adapter_dim=4)
    await platform.fine_tune(
        FineTuneRequest(name="job", model=model, train=home / "train", training=training, lora=lora), silent
    )

asyncio.run(main())
"""


async def owner(home: Path, model: str, what: str) -> asyncio.subprocess.Process:
    """Another process that uses the platform, as a flow run would."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(home), model, what, stdout=asyncio.subprocess.PIPE, cwd=Path.cwd()
    )


async def test_a_training_goes_on_when_its_flow_is_killed_and_the_next_flow_adopts_it(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    wanted = request(tmp_path, model, epochs=12)
    other = await owner(tmp_path, model, "train")
    await until(lambda: status(tmp_path).step >= 5)
    other.kill()
    await other.wait()
    trainer = process(tmp_path)
    assert trainer.is_alive()
    result = await platform.fine_tune(wanted, silent)
    assert result.status == "completed"
    assert process(tmp_path) == trainer


async def test_a_failed_training_says_why_and_may_be_tried_again(
    platform: LocalPlatform, tmp_path: Path, model: str
) -> None:
    wanted = request(tmp_path, model, max_seq_length=16)
    with pytest.raises(RemoteJobFailed, match="max_seq_length"):
        await platform.fine_tune(wanted, silent)
    assert status(tmp_path).state == "failed"
    with pytest.raises(RemoteJobFailed, match="max_seq_length"):
        await platform.fine_tune(wanted, silent)


async def test_a_training_without_progress_is_stopped(tmp_path: Path, model: str) -> None:
    platform = LocalPlatform(tmp_path, stall_seconds=5)
    running = asyncio.create_task(platform.fine_tune(request(tmp_path, model, epochs=100, rows=100), silent))
    await until(lambda: (tmp_path / "jobs" / "job" / "process.json").exists())
    os.kill(process(tmp_path).pid, signal.SIGSTOP)
    with pytest.raises(RemoteJobTimedOut, match="no progress"):
        await running
    assert not process(tmp_path).is_alive()


# --- serving ---------------------------------------------------------------------------------------------------


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
    url = (await asyncio.wait_for(other.stdout.readline(), 120)).decode().strip()
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
    await asyncio.wait_for(other.stdout.readline(), 120)
    server = process(tmp_path, "deployments", "dep")
    other.kill()
    await other.wait()
    await until(lambda: not server.is_alive(), 30)


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
