"""The local platform as a flow run uses it: what it asks, where it looks, and another process that does the same."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from blocks.local_platform.atomic_json import read_json
from blocks.local_platform.processes import ProcessRef
from blocks.local_platform.training.job_files import JobStatus
from blocks.ports import Endpoint, FineTuneRequest
from flywheel.config import LoraConfig, TrainingConfig


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


async def until(condition: Callable[[], Any], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def status(home: Path, job: str = "job") -> JobStatus:
    return read_json(home / "jobs" / job / "status.json", JobStatus) or JobStatus()


def interruptions(home: Path) -> Iterator[None]:
    """Attempts at interrupting the training `job`: one that had ended before is forgotten, and there is another.

    A toy trains in seconds, and who is to interrupt it may stand still for as long.
    """
    for _ in range(5):
        yield
        if status(home).state != "completed":
            return
        shutil.rmtree(home / "jobs" / "job")
    raise AssertionError("every training ended before it was interrupted")


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
