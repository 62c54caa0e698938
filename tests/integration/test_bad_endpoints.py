"""Evaluations against endpoints that misbehave in every way: each fault ends as it should, and costs no other item."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from blocks.endpoints.chat_client import ChatClient
from blocks.openai_platform.connection import Connection
from blocks.openai_platform.platform import OpenAIPlatform
from blocks.ports import Endpoint
from flywheel.config import CandidateConfig, EvaluationConfig
from flywheel.errors import EndpointRefused
from flywheel.evaluation.aggregate import aggregate
from flywheel.evaluation.replay import replay
from flywheel.evaluation.runner import Answer, run_evaluation
from flywheel.progress import silent
from flywheel.results import EvalItem, Evaluation, Prediction
from tests.fakes.openai_provider import OpenAIProvider
from tests.unit.evaluation.cases import calls, item

RIGHT = calls(("get_weather", '{"city": "Berlin"}'))
ITEMS = [item(RIGHT, f"i{n:02}") for n in range(30)]
CONFIG = EvaluationConfig(concurrency=4, max_attempts=3, timeout_seconds=60, circuit_seconds=30)
HASTY = CONFIG.model_copy(update={"timeout_seconds": 2})
IMPATIENT = EvaluationConfig(concurrency=4, max_attempts=2, timeout_seconds=0.4, circuit_seconds=1)


async def evaluate(
    url: str, path: Path, model: str = "small-a", key: str | None = None, config: EvaluationConfig = CONFIG
) -> tuple[list[Prediction], Evaluation]:
    endpoint = Endpoint(url, model)
    async with ChatClient(endpoint, config, first_pause=0.01, key=key) as client:

        async def ask(question: EvalItem, /) -> Answer:
            return await client.complete(replay(question.request, model, config).body)

        predictions = await run_evaluation(ITEMS, ask, path, config.concurrency)
    return predictions, aggregate(ITEMS, predictions, eval_type="base-eval", model=model)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("overflow", "does not fit into the model's context"),
        ("malformed", "no chat completion"),
        ("hang", "no answer within 2 seconds"),
    ],
)
async def test_an_item_without_an_answer_is_unscored_with_its_reason(
    tmp_path: Path, fault: str, error: str
) -> None:
    with OpenAIProvider() as provider:
        provider.faults.chat = {"question i07": fault}
        config = HASTY if fault == "hang" else CONFIG
        predictions, found = await evaluate(provider.url, tmp_path / "p.jsonl", config=config)
    assert error in str(predictions[7].error)
    assert set(predictions[7].scores.values()) == {None}
    score = found.scores["function_name_and_args_accuracy"]
    assert (score.n, score.unscored) == (29, 1)
    assert all(p.error is None for p in predictions if p.id != "i07")


async def test_invented_tool_names_are_wrong_answers_not_missing_ones(tmp_path: Path) -> None:
    with OpenAIProvider() as provider:
        provider.faults.chat = {"*": "invented"}
        predictions, found = await evaluate(provider.url, tmp_path / "p.jsonl")
    score = found.scores["function_name_and_args_accuracy"]
    assert (score.value, score.n, score.unscored) == (0, 30, 0)
    assert predictions[0].tool_calls == [{"name": "launch_rocket", "arguments": {}}]


async def test_an_answer_of_a_megabyte_is_kept_whole_and_scored(tmp_path: Path) -> None:
    with OpenAIProvider() as provider:
        provider.faults.chat = {"question i07": "megabyte"}
        predictions, _ = await evaluate(provider.url, tmp_path / "p.jsonl")
    response: Any = predictions[7].response
    assert response["choices"][0]["message"]["content"] == "x" * 1_000_000
    assert predictions[7].scores["function_name"] == 0
    assert json.loads((tmp_path / "p.jsonl").read_text().splitlines()[7])["response"] == response


async def test_a_server_that_accepts_and_never_answers_ends_the_evaluation_within_a_bound(
    tmp_path: Path,
) -> None:
    with OpenAIProvider() as provider:
        provider.faults.chat = {"*": "hang"}
        started = time.monotonic()
        with pytest.raises(Exception, match=r"no answer within|has been down"):
            await evaluate(provider.url, tmp_path / "p.jsonl", config=IMPATIENT)
        assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("model", "key", "words"),
    [
        ("small-a", "sk-wrong", "Check the endpoint's API key"),
        ("smal-a", "sk-right", "the name of the model"),
    ],
)
async def test_a_wrong_key_or_model_ends_the_evaluation_at_once(
    tmp_path: Path, model: str, key: str, words: str
) -> None:
    with OpenAIProvider(key="sk-right") as provider:
        with pytest.raises(EndpointRefused, match=words) as caught:
            await evaluate(provider.url, tmp_path / "p.jsonl", model, key)
        assert len(provider.asked) <= 16
    assert key not in str(caught.value)


async def test_a_certificate_that_does_not_verify_is_refused_at_once_and_one_that_does_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    candidate = CandidateConfig(model="small-a")
    with OpenAIProvider(tls=context) as provider:
        with pytest.raises(EndpointRefused, match=r"certificate .* not trusted .*SSL_CERT_FILE"):
            await evaluate(provider.url, tmp_path / "p.jsonl")
        with pytest.raises(EndpointRefused, match=r"certificate .* not trusted .*SSL_CERT_FILE"):
            await OpenAIPlatform(Connection(provider.url)).deploy("d", candidate, silent)
        assert provider.asked == []
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        endpoint = await OpenAIPlatform(Connection(provider.url)).deploy("d", candidate, silent)
        predictions, _ = await evaluate(endpoint.base_url, tmp_path / "p.jsonl")
        assert all(p.error is None for p in predictions)
        await asyncio.sleep(0)
