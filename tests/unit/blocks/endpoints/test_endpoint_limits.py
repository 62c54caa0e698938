"""Rates, shared limits, and the circuit that opens when an endpoint is down."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.endpoints.chat_client import ChatClient
from blocks.endpoints.endpoint_limits import FAILURES_TO_OPEN, Pace, sharing_limits
from flywheel.config import EvaluationConfig
from flywheel.errors import RemoteError, TransientRemoteError
from tests.fakes.chat_server import ChatServer, Reply, after, completion, failure, together

BODY = {"model": "candidate", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}


@given(st.floats(1, 1e5), st.lists(st.tuples(st.floats(0, 30), st.floats(0.01, 50)), min_size=1, max_size=40))
def test_no_more_than_the_rate_and_one_seconds_burst_go_in_any_minute(
    per_minute: float, asked: list[tuple[float, float]]
) -> None:
    pace, now = Pace(per_minute), 1_000.0
    gone: list[tuple[float, float]] = []
    for later, units in asked:
        now += later
        gone.append((now + pace.reserve(units, now), units))
    for start, first in gone:
        # what goes first may be more than the rate; it holds up what follows
        within = sum(units for when, units in gone if start < when <= start + 60)
        assert within <= per_minute * (1 + 1 / 60) + max(first, *(u for _, u in gone)) + 1e-6


def test_an_idle_rate_lets_a_seconds_worth_go_at_once_and_then_paces() -> None:
    pace = Pace(600)
    waits = [pace.reserve(1, 100.0) for _ in range(15)]
    assert waits[:10] == [0] * 10
    assert waits[11:] == pytest.approx([0.1, 0.2, 0.3, 0.4])


async def test_requests_a_minute_are_kept() -> None:
    config = EvaluationConfig(requests_per_minute=600, concurrency=50)
    async with ChatServer() as server, ChatClient(server.endpoint, config) as client:
        started = time.monotonic()
        await asyncio.gather(*(client.complete(BODY) for _ in range(15)))
    assert 0.3 <= time.monotonic() - started < 30


async def test_tokens_a_minute_are_kept_and_corrected_by_what_answers_state() -> None:
    # 1,000 tokens are estimated, 14 stated, and 60 tokens a second may go: 8 requests need a second, not two minutes.
    config = EvaluationConfig(tokens_per_minute=3_600, concurrency=1)
    body = {**BODY, "messages": [{"role": "user", "content": "x" * 2_000}]}
    async with ChatServer() as server, ChatClient(server.endpoint, config) as client:
        started = time.monotonic()
        for _ in range(8):
            await client.complete(body)
    assert 0.3 <= time.monotonic() - started < 60


async def test_clients_of_one_address_share_their_limits_where_that_is_wanted() -> None:
    config = EvaluationConfig(concurrency=3)
    answer: Reply = after(0.05, completion())
    async with ChatServer(lambda body, n: answer) as server:

        async def ask() -> None:
            async with ChatClient(server.endpoint, config) as client:
                await asyncio.gather(*(client.complete(BODY) for _ in range(6)))

        with sharing_limits():
            await asyncio.gather(ask(), ask(), ask())
        assert server.most_under_way == 3
        answer = together(9, completion())
        await asyncio.gather(ask(), ask(), ask())
        assert server.most_under_way == 9


async def test_one_who_is_told_to_wait_makes_all_wait() -> None:
    came: list[float] = []

    def respond(body: dict[str, Any], number: int) -> Any:
        came.append(time.monotonic())
        return completion() if number else failure(429, **{"Retry-After": "0.3"})

    async with (
        ChatServer(respond) as server,
        ChatClient(server.endpoint, EvaluationConfig(), first_pause=0.01) as client,
    ):
        first = asyncio.create_task(client.complete(BODY))
        while not client._client._limits._not_before:
            await asyncio.sleep(0.01)
        await asyncio.gather(client.complete(BODY), client.complete(BODY), first)
    told, *others = came
    assert len(others) == 3
    assert min(others) - told >= 0.3


async def test_an_endpoint_that_is_down_is_asked_by_one_at_a_time_and_comes_back_without_a_loss() -> None:
    down = True
    respond = lambda body, n: failure(503) if down else completion()  # noqa: E731
    config = EvaluationConfig(concurrency=40, max_attempts=6)
    async with ChatServer(respond) as server, ChatClient(server.endpoint, config, first_pause=0.01) as client:
        work = [asyncio.create_task(client.complete(BODY)) for _ in range(40)]
        while not client._client._limits.circuit.is_open:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.2)  # in which all would have used up their attempts
        # Probes go after 0.5 s, and then after pauses that double: more than five would take half a minute.
        assert len(server.bodies) <= 40 + FAILURES_TO_OPEN + 5
        down = False
        answers = await asyncio.gather(*work)
    assert len(answers) == 40


async def test_an_endpoint_that_stays_down_is_given_up_within_its_bound() -> None:
    config = EvaluationConfig(concurrency=20, max_attempts=20, circuit_seconds=0.4)
    async with (
        ChatServer(lambda body, n: failure(503)) as server,
        ChatClient(server.endpoint, config, first_pause=0.01) as client,
    ):
        started = time.monotonic()
        outcomes = await asyncio.gather(*(client.complete(BODY) for _ in range(100)), return_exceptions=True)
        assert time.monotonic() - started < 60
        assert len(server.bodies) < 60
    assert all(isinstance(outcome, TransientRemoteError) for outcome in outcomes)
    assert "has been down for" in str(outcomes[-1])


async def test_a_cancelled_probe_lets_another_try() -> None:
    states = ["down", "hangs", "up"]
    respond = {  # what the endpoint does
        "down": lambda: failure(503),
        "hangs": lambda: after(30, completion()),
        "up": completion,
    }
    config = EvaluationConfig(concurrency=20, max_attempts=20)
    async with (
        ChatServer(lambda body, n: respond[states[0]]()) as server,
        ChatClient(server.endpoint, config, first_pause=0.01) as client,
    ):
        work = [asyncio.create_task(client.complete(BODY)) for _ in range(12)]
        while not client._client._limits.circuit.is_open:
            await asyncio.sleep(0.01)
        states.pop(0)
        while not server.under_way or client._client._limits.circuit._probe is None:
            await asyncio.sleep(0.01)
        probe = client._client._limits.circuit._probe
        states.pop(0)
        probe.cancel()
        outcomes = await asyncio.gather(*work, return_exceptions=True)
    assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) == 1
    assert not any(isinstance(outcome, RemoteError) for outcome in outcomes)
