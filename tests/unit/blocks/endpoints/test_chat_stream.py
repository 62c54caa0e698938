"""Answers that come in pieces, and the time of their first token."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.endpoints.chat_client import ChatClient
from blocks.endpoints.chat_stream import StreamedCompletion
from blocks.ports import Endpoint
from flywheel.config import EvaluationConfig
from flywheel.errors import EndpointRefused, TransientRemoteError
from flywheel.evaluation.scoring import mean_logprob_of
from tests.fakes.chat_server import ChatServer, break_off, completion
from tests.fakes.openai_provider import OpenAIProvider

STREAM = EvaluationConfig(stream=True, max_attempts=2, timeout_seconds=60)
CALL = {"id": "call_9", "type": "function", "function": {"name": "track", "arguments": '{"id": "A-1"}'}}


def body(question: str) -> dict[str, Any]:
    return {"model": "small-a", "messages": [{"role": "user", "content": question}]}


def always_right(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Questions that the fake's base model happens to know, with this answer."""
    return {f"q{n}": {"role": "assistant", **answer} for n in range(40)}


async def streamed(answer: dict[str, Any], **more: Any) -> Any:
    with OpenAIProvider(always_right(answer)) as provider:
        async with ChatClient(Endpoint(provider.url, "small-a"), STREAM) as client:
            for n in range(40):
                got = await client.complete({**body(f"q{n}"), **more})
                if got.response["choices"][0]["message"]["content"] != "I am not sure. ":
                    return got
    raise AssertionError("the fake knew nothing")


async def test_a_streamed_text_is_whole_with_usage_and_the_time_of_its_first_token() -> None:
    answer = await streamed({"content": "Your parcel is in Bern."}, logprobs=True)
    choice = answer.response["choices"][0]
    assert choice["message"]["content"] == "Your parcel is in Bern. "
    assert choice["finish_reason"] == "stop"
    told = choice["logprobs"]["content"]
    assert [entry["token"] for entry in told] == ["Your", "parcel", "is", "in", "Bern."]
    assert mean_logprob_of(choice) == pytest.approx(math.log(0.2) / 5)
    assert answer.response["usage"]["total_tokens"] == 105
    assert 15 <= answer.ttft_ms <= answer.latency_ms


async def test_streamed_calls_are_put_together() -> None:
    answer = await streamed({"content": None, "tool_calls": [CALL, {**CALL, "id": "call_10"}]})
    message = answer.response["choices"][0]["message"]
    assert message["tool_calls"] == [CALL, {**CALL, "id": "call_10"}]
    assert answer.response["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_server_that_does_not_stream_is_understood_and_has_no_first_token() -> None:
    async with ChatServer() as server, ChatClient(server.endpoint, STREAM) as client:
        answer = await client.complete(body("hi"))
    assert answer.response == completion()
    assert answer.ttft_ms is None
    assert server.bodies[0]["stream"] is True


async def test_refusals_and_broken_streams_are_what_they_are_without_streaming() -> None:
    with OpenAIProvider(key="sk-1") as provider:
        async with ChatClient(Endpoint(provider.url, "small-a"), STREAM) as client:
            with pytest.raises(EndpointRefused, match="API key"):
                await client.complete(body("hi"))
    async with (
        ChatServer(lambda _, n: break_off) as server,
        ChatClient(server.endpoint, STREAM, first_pause=0.01) as client,
    ):
        with pytest.raises(TransientRemoteError, match="closed before"):
            await client.complete(body("hi"))


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return (data[a:b] for a, b in pairwise(edges))


EVENTS = [
    {"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"id": "1", "choices": [{"index": 0, "delta": {"content": "Grüße "}}]},
    {"id": "1", "choices": [{"index": 0, "delta": {"content": "an 東京"}}]},
    {"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"id": "1", "choices": [], "usage": {"total_tokens": 7}},
]
SSE = b": a comment\r\n\r\n" + b"".join(
    b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\r\n\r\n" for event in EVENTS
)


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_where_the_pieces_are_cut_changes_nothing(cuts: list[int]) -> None:
    answer = StreamedCompletion()
    for piece in pieces(SSE + b"data: [DONE]\r\n\r\n", cuts):
        answer.feed(piece)
    document = json.loads(answer.body())
    assert document["choices"] == [
        {"message": {"role": "assistant", "content": "Grüße an 東京"}, "finish_reason": "stop", "index": 0}
    ]
    assert document["usage"] == {"total_tokens": 7}


@pytest.mark.parametrize(
    "data",
    [
        SSE[: len(SSE) // 2],
        b"data: {broken\n\n",
        b'data: {"error": {"message": "overloaded", "code": 503}}\n\n',
        b"data: [1]\n\n",
        b"",
    ],
)
def test_a_stream_that_is_not_whole_is_no_completion(data: bytes) -> None:
    answer = StreamedCompletion()
    answer.feed(data)
    assert b'"choices":[{' not in answer.body()
