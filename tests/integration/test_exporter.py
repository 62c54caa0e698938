"""The exporter with the real OpenAI SDK against a server on a socket."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from flywheel.cli.main import main
from flywheel_exporter import (
    AsyncLoggedClient,
    AsyncLoggingTransport,
    Exporter,
    JsonlFile,
    Line,
    LoggedClient,
    LoggingTransport,
    Outcome,
    labels,
)
from tests.fakes.chat_server import ChatServer, after, completion, drop, failure, hang, html
from tests.fakes.chat_streams import call_part, chunk, streamed, text_chunks

USER = {"role": "user", "content": "where is A1? ü"}
TOOLS: Any = [{"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


@pytest.fixture
def exporter(path: Path) -> Iterator[Exporter]:
    with Exporter(JsonlFile(path), workload_id="router", client_id="acme", flush_seconds=0.01) as exporter:
        yield exporter


@pytest.fixture
async def http(exporter: Exporter) -> AsyncIterator[AsyncLoggedClient]:
    async with AsyncLoggedClient(exporter) as client:
        yield client


def sdk(server: ChatServer, http: Any, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url=server.base_url, api_key="secret", http_client=http, **({"max_retries": 0} | options)
    )


def ask(client: Any, **options: Any) -> Any:
    return client.chat.completions.create(model="m", messages=[USER], **options)


def logged(exporter: Exporter, path: Path) -> list[dict[str, Any]]:
    assert exporter.flush(10)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


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
    assert 50 <= record["latency_ms"] < 5_000
    assert abs(time.time() - _seconds(record["timestamp"])) < 60
    assert "incomplete" not in record
    assert "secret" not in path.read_text()


def _seconds(iso: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(iso).timestamp()


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


async def test_other_requests_pass_unlogged(exporter: Exporter, http: AsyncLoggedClient, path: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"messages": []}'

    async with ChatServer() as server:
        answer = await http.get(server.base_url + "/models")
        assert answer.status_code == 404
        # a body that is sent while it is made cannot be looked at without taking it from the server
        answer = await http.post(server.base_url + "/chat/completions", content=body())
        assert answer.json()["object"] == "chat.completion"
    assert logged(exporter, path) == []


async def test_sync_clients_in_threads_each_with_labels_of_their_own(exporter: Exporter, path: Path) -> None:
    async with ChatServer() as server:

        def work(name: str) -> None:
            with LoggedClient(exporter) as http, labels(workload_id=name):
                client = OpenAI(base_url=server.base_url, api_key="k", http_client=http)
                for _ in range(3):
                    client.chat.completions.create(model="m", messages=[{"role": "user", "content": name}])

        await asyncio.gather(*(asyncio.to_thread(work, f"w{i}") for i in range(8)))
    records = logged(exporter, path)
    assert len(records) == 24
    assert all(record["workload_id"] == record["request"]["messages"][0]["content"] for record in records)


async def test_the_transports_serve_httpx_and_its_successor(exporter: Exporter, path: Path) -> None:
    async with ChatServer(lambda body, n: streamed(text_chunks("a", "b"), packed=True)) as server:
        for library in (httpx, httpx2):
            transport = AsyncLoggingTransport(library.AsyncHTTPTransport(), exporter)
            async with library.AsyncClient(transport=transport) as http:
                async for _ in await ask(sdk(server, http), stream=True):
                    pass

            def sync(library: Any = library) -> None:
                with library.Client(transport=LoggingTransport(library.HTTPTransport(), exporter)) as http:
                    client = OpenAI(base_url=server.base_url, api_key="k", http_client=http)
                    assert len(list(ask(client, stream=True))) == 5

            await asyncio.to_thread(sync)
    contents = [r["response"]["choices"][0]["message"]["content"] for r in logged(exporter, path)]
    assert contents == ["ab"] * 4


async def test_a_client_keeps_to_the_proxy_of_the_environment(
    exporter: Exporter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transport of one's own would make httpx pass over it, and calls would fail where only the proxy is let out."""
    async with ChatServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
        async with AsyncLoggedClient(exporter) as http:
            client = AsyncOpenAI(
                base_url="http://model.invalid/v1", api_key="k", http_client=http, max_retries=0
            )
            await ask(client)
    assert len(logged(exporter, path)) == 1


# --- what leaves the process ---------------------------------------------------------------------------------------


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
        assert self.up.wait(20)
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
    await asyncio.to_thread(exporter.close)
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
        await asyncio.to_thread(exporter.close)
    assert len({line.id for line in sink.lines}) == len(sink.lines) == exporter.counts.written == 10


async def test_a_sink_that_hangs_fills_the_queue_and_delays_nobody() -> None:
    sink = Sink()
    sink.up.clear()
    exporter = Exporter(sink, flush_seconds=0.01, queue_records=5)
    async with ChatServer() as server, AsyncLoggedClient(exporter) as http:
        client = sdk(server, http)
        started = time.monotonic()
        await asyncio.gather(*(ask(client) for _ in range(30)))
        assert time.monotonic() - started < 10
    assert exporter.counts.dropped_queue_full == 25
    sink.up.set()
    await asyncio.to_thread(exporter.close)
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


# --- ends and forks of processes -----------------------------------------------------------------------------------

APPLICATION = """
import json, os, sys, multiprocessing, threading
import httpx
from flywheel_exporter import Exporter, JsonlFile, LoggedClient, labels

url, path = sys.argv[1:]
http = LoggedClient(Exporter(JsonlFile(path), flush_seconds=3600, client_id="acme"))

def ask(name):
    with labels(workload_id=name):
        http.post(url + "/chat/completions", json={"messages": [{"role": "user", "content": name}]}).raise_for_status()
"""

ENDINGS = {
    "falls off its end": ("ask('a')", ["a"], 0),
    "exits": ("ask('a'); sys.exit(3)", ["a"], 3),
    "raises": ("ask('a'); raise SystemError('defect')", ["a"], 1),
    "calls in a thread": ("t = threading.Thread(target=ask, args=('a',)); t.start()", ["a"], 0),
    "forks": (  # one after the other: both hold the same connection to the endpoint, which is httpx's affair
        "ask('a')\nchild = os.fork()\nif child: os.waitpid(child, 0)\nask('child' if child == 0 else 'parent')",
        ["a", "child", "parent"],
        0,
    ),
    "forks before its first call": (
        "child = os.fork()\nask('child' if child == 0 else 'parent')\nif child: os.waitpid(child, 0)",
        ["child", "parent"],
        0,
    ),
    "starts a process of multiprocessing": (
        "ask('a')\np = multiprocessing.get_context('fork').Process(target=ask, args=('b',)); p.start(); p.join()",
        ["a", "b"],
        0,
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_process_that_ends_has_written_each_call_once(name: str, path: Path) -> None:
    ending, expected, code = ENDINGS[name]
    async with ChatServer() as server:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", APPLICATION + ending, server.base_url, str(path)],
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == code, done.stderr.decode()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(record["workload_id"] for record in records) == expected


async def test_the_end_of_a_process_waits_a_bounded_time_for_a_sink_that_is_down(path: Path) -> None:
    ending = (
        "from flywheel_exporter import Elasticsearch\n"
        "http = LoggedClient(Exporter(Elasticsearch('http://127.0.0.1:9', 'x'), exit_seconds=0.5)); ask('a')"
    )
    async with ChatServer() as server:
        started = time.monotonic()
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", APPLICATION + ending, server.base_url, str(path)],
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    assert time.monotonic() - started < 20
    assert b"not reachable" in done.stderr


# --- what Flywheel makes of it -------------------------------------------------------------------------------------


async def test_curate_reads_what_the_exporter_writes(
    exporter: Exporter,
    http: AsyncLoggedClient,
    path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def respond(body: dict[str, Any], number: int) -> Any:
        order = body["messages"][0]["content"].split()[-1]
        if number % 10 == 9:
            return failure(500)
        if number % 10 == 8:
            return streamed(text_chunks(f"Order {order}")[:2], then="drop")
        if number % 2:
            return streamed(
                [call_part(0, json.dumps({"order": order}), "track", "c"), chunk(finish="tool_calls")]
            )
        return completion(f"Order {order} is on its way.")

    async with ChatServer(respond) as server:
        client = sdk(server, http)
        for number in range(100):
            messages: Any = [
                {"role": "user", "content": f"{WORDS[number % 10]} {WORDS[number // 10]} {number * 7919}"}
            ]
            try:
                answer = await client.chat.completions.create(
                    model="m", messages=messages, tools=TOOLS, stream=number % 10 != 9
                )
                if isinstance(answer, openai.AsyncStream):
                    async for _ in answer:
                        pass
            except (openai.APIError, httpx.HTTPError):
                assert number % 10 in (8, 9)
    assert len(logged(exporter, path)) == 100
    out = tmp_path / "datasets"
    command = [
        "curate",
        "--logs",
        str(path),
        "--workload",
        "router",
        "--client",
        "acme",
        "--out",
        str(out),
        "--json",
    ]
    assert await asyncio.to_thread(main, command) == 0
    funnel = json.loads(capsys.readouterr().out)["funnel"]
    assert (funnel["read"], funnel["invalid"]) == (100, 20)
    reasons = [json.loads(line)["reason"] for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert (reasons.count("incomplete_answer"), reasons.count("errored_response")) == (10, 10)


WORDS = (
    "where is my parcel with the blue shirt",
    "please cancel the order for these shoes",
    "can someone change the address of",
    "I want the money back that I paid for",
    "who takes care of the broken lamp in",
    "when will the courier ring at my door with",
    "is the red coat in stock again for",
    "the invoice does not add up for order",
    "my neighbour took in the box from",
    "tell me how to send back the chair of",
)
