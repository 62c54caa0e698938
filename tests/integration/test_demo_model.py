"""The demo's real model on this machine: it learns a routing task by training, and is served as it was trained."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from blocks.local_platform.models.chat_format import ChatFormat
from blocks.local_platform.models.demo_model import DEMO_MODEL, demo_model_folder, ensure_demo_model
from blocks.local_platform.platform import LocalPlatform
from blocks.ports import Endpoint, FineTuneRequest
from flywheel.config import CandidateConfig, LoraConfig, TrainingConfig
from flywheel.progress import silent
from tests.fakes.routing_task import TOOLS, RoutedCall, routed_calls

pytestmark = pytest.mark.slow

CALLS = routed_calls(162)
TRAIN, VALIDATION, HELD_OUT = CALLS[:118], CALLS[118:130], CALLS[130:]


@pytest.fixture
async def platform(tmp_path: Path, demo_model_home: Path) -> AsyncIterator[LocalPlatform]:
    (tmp_path / "models").symlink_to(demo_model_home / "models")
    platform = LocalPlatform(tmp_path)
    yield platform
    await platform.shut_down("dep")


async def post(endpoint: Endpoint, **body: Any) -> dict[str, Any]:
    asked = {"model": endpoint.model, "temperature": 0, **body}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{endpoint.base_url}/chat/completions", json=asked) as response,
    ):
        assert response.status == 200, await response.text()
        answer: dict[str, Any] = await response.json()
        return answer


async def answers(endpoint: Endpoint, calls: list[RoutedCall], at_once: int) -> list[dict[str, Any]]:
    slots = asyncio.Semaphore(at_once)

    async def one(call: RoutedCall) -> dict[str, Any]:
        async with slots:
            return await post(endpoint, messages=call.messages, tools=TOOLS, max_tokens=64)

    return await asyncio.gather(*[one(call) for call in calls])


def right(calls: list[RoutedCall], given: list[dict[str, Any]]) -> int:
    return sum(
        call.is_answered_by(answer["choices"][0]["message"])
        for call, answer in zip(calls, given, strict=True)
    )


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_the_model_knows_what_it_knew_and_training_lifts_exact_calls_from_next_to_none_to_a_majority(
    platform: LocalPlatform, tmp_path: Path, demo_model_home: Path
) -> None:
    train = tmp_path / "train"
    train.mkdir()
    for name, calls in (("training", TRAIN), ("validation", VALIDATION)):
        lines = [json.dumps(call.training_row()) for call in calls]
        (train / f"{name}.jsonl").write_text("\n".join(lines))
    candidate = CandidateConfig(name="demo", model=DEMO_MODEL)
    base = await platform.deploy("dep", candidate, silent)

    # Weights in the wrong order, or a wrong tokenizer, would leave nothing but noise.
    question = [{"role": "user", "content": "What is the capital of France?"}]
    answer = await post(base, messages=question, max_tokens=20)
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"

    asked = HELD_OUT[:12]  # a base model says much before it stops
    before = await answers(base, asked, at_once=12)
    assert right(asked, before) <= 1

    # What the server counts of a prompt is what training made of it.
    chat_format = ChatFormat(demo_model_folder(demo_model_home))
    for call, answer in zip(asked, before, strict=True):
        row = call.training_row()
        assert answer["usage"]["prompt_tokens"] == len(
            chat_format.example(row["messages"], row["tools"]).prompt
        )

    request = FineTuneRequest(
        name="job", model=DEMO_MODEL, train=train, training=TrainingConfig(epochs=1), lora=LoraConfig()
    )
    tuned = await platform.serve_customization("dep", await platform.fine_tune(request, silent))
    after = await answers(tuned, HELD_OUT, at_once=32)
    assert right(HELD_OUT, after) >= 20

    # Together or one at a time: rounding in bfloat16 may tip a token now and then, no more.
    alone = await answers(tuned, HELD_OUT[:8], at_once=1)
    texts = [
        [a["choices"][0]["message"].get("tool_calls", [{}])[0].get("function") for a in g]
        for g in (after, alone)
    ]
    assert sum(one == other for one, other in zip(texts[0], texts[1], strict=False)) >= 7


async def test_tokens_and_context_are_the_models_own(platform: LocalPlatform, demo_model_home: Path) -> None:
    candidate = CandidateConfig(name="demo", model=DEMO_MODEL)
    assert await platform.context_length(candidate) == 8192
    assert await platform.context_length(candidate.model_copy(update={"context_length": 1000})) == 1000
    counter = await platform.token_counter(candidate)
    assert counter.exact
    assert counter.count("order 12345") == 7  # each digit is a token of its own


def test_two_that_want_the_model_at_once_download_and_convert_it_once(tmp_path: Path) -> None:
    stages: list[tuple[int, str]] = []

    def fetch(number: int) -> Path:
        return ensure_demo_model(
            tmp_path, lambda stage, done, total, detail="": stages.append((number, stage))
        )

    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(fetch, [0, 1]))
    assert folders == [demo_model_folder(tmp_path)] * 2
    assert len({number for number, _ in stages}) == 1
    assert {stage for _, stage in stages} >= {"convert model"}
    assert [path.name for path in (tmp_path / "models").glob("[!.]*")] == ["smollm2-135m"]
    assert not list((tmp_path / "models").glob(".smollm2-135m-*"))
