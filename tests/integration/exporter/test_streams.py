"""What is logged of a streamed answer: put together again, or as far as it came."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from flywheel_exporter import (
    AsyncLoggedClient,
    Exporter,
    LoggedClient,
)
from tests.fakes.chat_server import ChatServer
from tests.fakes.chat_streams import call_part, chunk, streamed, text_chunks
from tests.integration.exporter.asking import TOOLS, ask, logged, sdk


@pytest.mark.parametrize("packed", [False, True])
async def test_a_stream_reaches_the_application_and_is_logged_as_one_completion(
    exporter: Exporter, http: AsyncLoggedClient, path: Path, packed: bool
) -> None:
    respond = streamed(text_chunks("It is ", "at stop ", "ü."), pause=0.03, packed=packed)
    async with ChatServer(lambda body, n: respond) as server:
        stream = await ask(sdk(server, http), stream=True, stream_options={"include_usage": True})
        pieces = [part.choices[0].delta.content async for part in stream if part.choices]
    assert "".join(piece or "" for piece in pieces) == "It is at stop ü."
    [record] = logged(exporter, path)
    assert record["response"]["object"] == "chat.completion"
    assert record["response"]["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "It is at stop ü."}, "finish_reason": "stop"}
    ]
    assert (record["tokens_in"], record["tokens_out"]) == (11, 3)
    assert 30 <= record["time_to_first_token_ms"] < record["latency_ms"]
    assert record["latency_ms"] >= 150
    assert "incomplete" not in record


async def test_streamed_tool_calls_are_logged_whole(
    exporter: Exporter, http: AsyncLoggedClient, path: Path
) -> None:
    chunks = [
        chunk({"role": "assistant", "content": None}),
        call_part(0, "", "track", "c0"),
        call_part(0, '{"order": "A'),
        call_part(0, '1"}'),
        call_part(1, "{}", "ping", "c1"),
        chunk(finish="tool_calls"),
    ]
    async with ChatServer(lambda body, n: streamed(chunks)) as server:
        async for _ in await ask(sdk(server, http), tools=TOOLS, stream=True):
            pass
    [record] = logged(exporter, path)
    [choice] = record["response"]["choices"]
    assert choice["finish_reason"] == "tool_calls"
    calls = choice["message"]["tool_calls"]
    assert [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in calls] == [
        ("c0", "track", '{"order": "A1"}'),
        ("c1", "ping", "{}"),
    ]
    assert "tokens_in" not in record  # the stream had no usage, and none is invented


async def test_a_stream_that_the_application_gives_up_is_logged_as_far_as_it_came(
    exporter: Exporter, http: AsyncLoggedClient, path: Path
) -> None:
    respond = streamed(text_chunks("one ", "two ", "three"), then="hang")
    async with ChatServer(lambda body, n: respond) as server:
        stream = await ask(sdk(server, http), stream=True)
        async for part in stream:
            if part.choices and part.choices[0].delta.content == "two ":
                break
        await stream.close()
    [record] = logged(exporter, path)
    assert record["incomplete"]
    assert record["response"]["choices"][0]["message"]["content"].startswith("one two ")


@pytest.mark.parametrize("then", ["drop", "error"])
async def test_a_stream_that_breaks_off_raises_in_the_application_and_is_logged_as_incomplete(
    exporter: Exporter, http: AsyncLoggedClient, path: Path, then: str
) -> None:
    respond = streamed(text_chunks("one ", "two")[:2], then=then)
    async with ChatServer(lambda body, n: respond) as server:
        with pytest.raises(openai.APIError):
            async for _ in await ask(sdk(server, http), stream=True):
                pass
    [record] = logged(exporter, path)
    assert record["incomplete"]
    assert record["response"]["choices"][0]["message"]["content"] == "one "


async def test_a_stream_left_to_the_garbage_collector_is_logged(exporter: Exporter, path: Path) -> None:
    async with ChatServer(lambda body, n: streamed(text_chunks("one", "two"))) as server:

        def forget() -> None:
            with LoggedClient(exporter) as http:
                client = OpenAI(base_url=server.base_url, api_key="k", http_client=http)
                for part in ask(client, stream=True):
                    if part.choices:
                        break

        await asyncio.to_thread(forget)
        gc.collect()
    assert len(logged(exporter, path)) == 1
