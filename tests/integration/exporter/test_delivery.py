"""What leaves the process, and what becomes of calls while nobody takes it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI

from flywheel_exporter import (
    AsyncLoggedClient,
    Exporter,
    JsonlFile,
    Line,
    Outcome,
)
from tests.fakes.chat_server import ChatServer, completion
from tests.integration.exporter.asking import ask, logged, sdk


async def test_redaction_sees_each_record_before_it_is_written(path: Path) -> None:
    def redact(record: dict[str, Any]) -> dict[str, Any] | None:
        content = record["request"]["messages"][0]["content"]
        if content == "withhold":
            return None
        if content == "raise":
            raise RuntimeError("hook")
        record["request"]["messages"][0]["content"] = "***"
        return record

    with Exporter(JsonlFile(path), redact=redact, flush_seconds=0.01) as exporter:
        async with ChatServer() as server, AsyncLoggedClient(exporter) as http:
            for content in ("my name is Bond", "withhold", "raise"):
                messages: Any = [{"role": "user", "content": content}]
                await sdk(server, http).chat.completions.create(model="m", messages=messages)
        [record] = logged(exporter, path)
    assert record["request"]["messages"][0]["content"] == "***"
    counts = exporter.counts
    assert (counts.seen, counts.written, counts.withheld, counts.failed) == (3, 1, 1, 1)


async def test_huge_payloads_are_cut_and_marked_and_endless_answers_not_kept(path: Path) -> None:
    sizes = {"max_string_characters": 1_000, "max_answer_bytes": 20_000}
    with Exporter(JsonlFile(path), flush_seconds=0.01, **sizes) as exporter:  # type: ignore[arg-type]
        answers = [completion("x" * 5_000), completion("x" * 50_000)]
        async with ChatServer(lambda body, n: answers[n]) as server, AsyncLoggedClient(exporter) as http:
            for _ in answers:
                assert len((await ask(sdk(server, http))).choices[0].message.content) >= 5_000
        cut, too_long = logged(exporter, path)
    assert cut["truncated"] == [
        {"path": "response.choices[0].message.content", "characters": 5_000, "kept": 1_000}
    ]
    assert exporter.counts.cut == 1
    assert too_long["incomplete"]


class Sink:
    """Keeps lines; `down` makes it raise, `slow` makes it wait."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.down = False
        self.up = threading.Event()
        self.up.set()

    def write(self, lines: Sequence[Line]) -> Outcome:
        assert self.up.wait(120)
        if self.down:
            raise ConnectionError("down")
        self.lines += lines
        return Outcome()

    def close(self) -> None: ...


async def test_calls_are_unharmed_while_the_sink_is_down_and_all_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = Sink()
    sink.down = True
    exporter = Exporter(sink, flush_seconds=0.01, patience_seconds=0.1)
    async with ChatServer() as server, AsyncLoggedClient(exporter) as http:
        client = sdk(server, http)
        await asyncio.gather(*(ask(client) for _ in range(20)))
    await asyncio.to_thread(exporter.close, 60)
    counts = exporter.counts
    assert (counts.seen, counts.written, counts.dropped_sink_down, counts.waiting) == (20, 0, 20, 0)
    warnings = [r.getMessage() for r in caplog.records if r.name == "flywheel_exporter"]
    assert len(warnings) == 1
    assert "ConnectionError: down" in warnings[0]


async def test_a_sink_that_comes_back_in_time_gets_everything_once() -> None:
    sink = Sink()
    sink.down = True
    exporter = Exporter(sink, flush_seconds=0.01)
    async with ChatServer() as server, AsyncLoggedClient(exporter) as http:
        client = sdk(server, http)
        await asyncio.gather(*(ask(client) for _ in range(10)))
        sink.down = False
        await asyncio.to_thread(exporter.close, 60)
    assert len({line.id for line in sink.lines}) == len(sink.lines) == exporter.counts.written == 10


async def test_a_sink_that_hangs_fills_the_queue_and_delays_nobody() -> None:
    sink = Sink()
    sink.up.clear()
    exporter = Exporter(sink, flush_seconds=0.01, queue_records=5)
    async with ChatServer() as server, AsyncLoggedClient(exporter) as http:
        client = sdk(server, http)
        started = time.monotonic()
        await asyncio.gather(*(ask(client) for _ in range(30)))
        assert time.monotonic() - started < 60
    assert exporter.counts.dropped_queue_full == 25
    sink.up.set()
    await asyncio.to_thread(exporter.close, 60)
    assert (exporter.counts.written, exporter.counts.waiting) == (5, 0)


@pytest.mark.slow
async def test_nothing_is_lost_of_a_thousand_calls_at_a_concurrency_of_fifty(
    exporter: Exporter, http: AsyncLoggedClient, path: Path
) -> None:
    slots = asyncio.Semaphore(50)

    async def one(number: int, client: AsyncOpenAI) -> None:
        messages: Any = [{"role": "user", "content": f"call {number}"}]
        async with slots:
            await client.chat.completions.create(model="m", messages=messages)

    async with ChatServer() as server:
        client = sdk(server, http)
        await asyncio.gather(*(one(number, client) for number in range(1_000)))
    contents = {record["request"]["messages"][0]["content"] for record in logged(exporter, path)}
    assert contents == {f"call {number}" for number in range(1_000)}
    assert (exporter.counts.seen, exporter.counts.written) == (1_000, 1_000)
