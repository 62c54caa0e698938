"""What is logged of a call: whole answers and errors, as the application got them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import openai
import pytest

from flywheel_exporter import (
    AsyncLoggedClient,
    Exporter,
    labels,
)
from tests.fakes.chat_server import ChatServer, after, completion, drop, failure, hang, html
from tests.integration.exporter.asking import TOOLS, ask, logged, sdk


async def test_a_call_is_logged_verbatim_with_labels_tokens_and_latency(
    exporter: Exporter, http: AsyncLoggedClient, path: Path
) -> None:
    answer = completion(calls=[("track", '{"order": "A1"}')], model="prod", system_fingerprint="f")
    async with ChatServer(lambda body, n: after(0.05, answer)) as server:
        with labels(conversation_id="7", description="test"):
            await ask(sdk(server, http), tools=TOOLS, temperature=0.5, seed=0)
        [record] = logged(exporter, path)
        assert record["request"] == server.bodies[0]
    assert record["response"] == answer
    assert (record["workload_id"], record["client_id"]) == ("router", "acme")
    assert (record["conversation_id"], record["description"]) == ("7", "test")
    assert (record["tokens_in"], record["tokens_out"]) == (11, 3)
    assert 50 <= record["latency_ms"] < 60_000
    assert abs(time.time() - _seconds(record["timestamp"])) < 600
    assert "incomplete" not in record
    assert "secret" not in path.read_text()


def _seconds(iso: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(iso).timestamp()


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_errors_reach_the_application_and_are_logged_as_such(
    exporter: Exporter, http: AsyncLoggedClient, path: Path, status: int
) -> None:
    async with ChatServer(lambda body, n: failure(status, "no such luck")) as server:
        with pytest.raises(openai.APIStatusError, match="no such luck"):
            await ask(sdk(server, http))
    [record] = logged(exporter, path)
    assert record["status_code"] == status
    assert record["response"]["error"]["message"] == "no such luck"


async def test_each_attempt_of_a_retried_call_is_a_record(
    exporter: Exporter, http: AsyncLoggedClient, path: Path
) -> None:
    answers = [html(502), failure(503), completion()]
    async with ChatServer(lambda body, n: answers[n]) as server:
        await ask(sdk(server, http, max_retries=3))
    records = logged(exporter, path)
    assert [record.get("status_code") for record in records] == [502, 503, None]
    assert "Bad gateway" in records[0]["response"]["error"]["message"]


async def test_a_server_that_is_not_there_or_hangs_up_is_logged_without_an_answer(
    exporter: Exporter, http: AsyncLoggedClient, path: Path
) -> None:
    async with ChatServer(lambda body, n: drop) as server:
        with pytest.raises(openai.APIConnectionError):
            await ask(sdk(server, http))
    with pytest.raises(openai.APIConnectionError):
        await ask(sdk(server, http))
    with_answer, without = logged(exporter, path)
    assert with_answer["incomplete"].startswith("no answer came: ")
    assert without["response"]["error"]["type"] == "ConnectError"


async def test_a_call_that_times_out_or_is_cancelled_is_logged(
    exporter: Exporter, http: AsyncLoggedClient, path: Path
) -> None:
    async with ChatServer(lambda body, n: hang) as server:
        with pytest.raises(openai.APITimeoutError):
            await ask(sdk(server, http, timeout=0.05))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(sdk(server, http)), 0.1)
    assert [r["response"]["error"]["type"] for r in logged(exporter, path)] == [
        "ReadTimeout",
        "CancelledError",
    ]
