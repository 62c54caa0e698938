"""Client, runner and scores together, against a real endpoint that is not always well."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from blocks.endpoints.chat_client import ChatClient
from flywheel.config import EvaluationConfig
from flywheel.errors import EndpointRefused
from flywheel.evaluation.aggregate import aggregate
from flywheel.evaluation.replay import replay
from flywheel.evaluation.runner import Answer, run_evaluation
from flywheel.results import EvalItem, Prediction
from tests.fakes.chat_server import ChatServer, completion, drop, failure, html
from tests.unit.evaluation.cases import calls, item, text

CONFIG = EvaluationConfig(concurrency=8, max_attempts=4, timeout_seconds=60)
RIGHT = calls(("get_weather", '{"city": "Berlin"}'))


async def evaluate(items: list[EvalItem], server: ChatServer, path: Path) -> list[Prediction]:
    async with ChatClient(server.endpoint, CONFIG, first_pause=0.01) as client:

        async def ask(question: EvalItem, /) -> Answer:
            return await client.complete(replay(question.request, "candidate", CONFIG).body)

        return await run_evaluation(items, ask, path, CONFIG.concurrency)


async def test_an_evaluation_comes_through_a_bad_day_of_the_endpoint(tmp_path: Path) -> None:
    troubles = [failure(429, **{"Retry-After": "0"}), html(502), drop, failure(500)]

    tried: Counter[str] = Counter()

    def respond(body: dict[str, Any], number: int) -> Any:
        question = body["messages"][-1]["content"]
        tried[question] += 1
        place = int(question.rpartition("i")[2])
        if (
            place % 3 == 0 and tried[question] <= 1 + place % 2
        ):  # at their first tries, however many ask at once
            trouble = troubles[place // 3 % 4]
            return trouble if callable(trouble) else failure(503)
        if question.endswith("7"):
            return failure(400, "maximum context length is 10 tokens")
        return RIGHT if question.endswith(("1", "2", "3")) else completion("It rains.")

    items = [item(RIGHT if n % 2 else text("It rains."), f"i{n}") for n in range(40)]
    async with ChatServer(respond) as server:
        predictions = await evaluate(items, server, tmp_path / "p.jsonl")
        asked = len(server.bodies)
        await evaluate(items, server, tmp_path / "p.jsonl")
        again = [body["messages"][-1]["content"] for body in server.bodies[asked:]]
    assert sorted(again) == [f"question i{n}" for n in (17, 27, 37, 7)]
    found = aggregate(items, predictions, eval_type="base-eval", model="candidate")
    strict = found.scores["function_name_and_args_accuracy"]
    # Of 20 calls wanted, 4 are refused and 8 made; of 20 plain answers wanted, 4 are answered with a call.
    assert (strict.n, strict.unscored, strict.value) == (36, 4, pytest.approx(24 / 36))
    assert (found.usage.answered, found.usage.errors) == (36, 4)
    assert found.usage.tokens_in == 36 * 11
    assert any(p.attempts > 1 for p in predictions)
    errors = [p.error for p in predictions if p.error]
    assert all("does not fit into the model's context" in error for error in errors)


async def test_a_wrong_key_ends_the_evaluation_at_once_and_names_the_remedy(tmp_path: Path) -> None:
    async with ChatServer(lambda body, n: failure(401, "Invalid key")) as server:
        with pytest.raises(EndpointRefused, match="Check the endpoint's API key"):
            await evaluate([item(RIGHT, f"i{n}") for n in range(200)], server, tmp_path / "p.jsonl")
        assert len(server.bodies) < 40


async def test_a_predictions_line_keeps_the_raw_answer(tmp_path: Path) -> None:
    raw = {**RIGHT, "system_fingerprint": "fp_1", "x_vendor": {"a": 1}}
    async with ChatServer(lambda body, n: raw) as server:
        await evaluate([item(RIGHT)], server, tmp_path / "p.jsonl")
    line = json.loads((tmp_path / "p.jsonl").read_text())
    assert line["response"] == raw
    assert line["latency_ms"] > 0
    assert (line["tokens_in"], line["tokens_out"], line["finish_reason"]) == (11, 3, "tool_calls")
