"""What the exporter costs an application: the same calls with and without it, in turns, in one run.

    python -m benchmarks.exporter [--calls 1000] [--concurrency 50] [--latency 1] [--stream]

`AsyncOpenAI` asks a mock endpoint in a process of its own that answers after the latency; a request is some 3 kB with
tools. Both sides use an httpx client with the same settings; the exporter writes to a file. Shown are the time of a
call as the application sees it, and the CPU seconds of the whole process, background thread included. With `--latency
0` the application has no idle moment in which to log: then the time for all calls tells what logging takes at worst.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from openai import AsyncOpenAI

from flywheel_exporter import AsyncLoggedClient, Exporter, JsonlFile

LIMITS = httpx.Limits(max_connections=1_000, max_keepalive_connections=100)
PIECES = 40
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Looks up what the customer asks for. " * 6,
            "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}},
        },
    }
    for name in ("track_order", "cancel_order", "refund_order", "change_address", "open_ticket")
]
SYSTEM: Any = {"role": "system", "content": "You route the questions of customers to the right tool. " * 12}


class Round(NamedTuple):
    """One pass over all calls. Times of a call in milliseconds; `cpu` and `wall` in seconds."""

    median: float
    p99: float
    cpu: float
    wall: float


class _Mock(asyncio.Protocol):
    """Just enough HTTP to answer one request after the other on a connection."""

    def __init__(self, latency: float, answers: dict[bool, bytes]) -> None:
        self._latency, self._answers = latency, answers
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if end and len(rest) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            self._buffer = b""
            answer = self._answers[b'"stream":true' in rest]
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)


def serve(port: Connection, latency: float) -> None:
    """Run the mock until the process is ended; its port number goes into the pipe."""
    usage = {"prompt_tokens": 412, "completion_tokens": PIECES, "total_tokens": 412 + PIECES}
    common = {"id": "c", "created": 1, "model": "m"}
    message = {"role": "assistant", "content": "certainly " * PIECES}
    whole = {
        **common,
        "object": "chat.completion",
        "usage": usage,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
    deltas: list[tuple[dict[str, str], str | None]] = [({"content": "certainly "}, None)] * PIECES
    chunks = [
        {
            **common,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": end}],
        }
        for delta, end in [*deltas, ({}, "stop")]
    ]
    stream = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"

    def http(kind: bytes, body: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
            kind,
            len(body),
            body,
        )

    answers = {
        False: http(b"application/json", json.dumps(whole).encode()),
        True: http(b"text/event-stream", stream.encode()),
    }

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Mock(latency, answers), "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def measure(http: httpx.AsyncClient, url: str, calls: int, concurrency: int, stream: bool) -> Round:
    """Make the calls, each of `concurrency` workers one after the other."""
    client = AsyncOpenAI(base_url=url, api_key="none", http_client=http, max_retries=0)
    numbers = iter(range(calls))
    times: list[float] = []

    async def worker() -> None:
        for number in numbers:
            messages: Any = [SYSTEM, {"role": "user", "content": f"Where is my order A-{number}?"}]
            started = time.perf_counter()
            answer = await client.chat.completions.create(
                model="m", messages=messages, tools=TOOLS, stream=stream
            )
            if stream:
                async for _ in answer:  # type: ignore[union-attr]
                    pass
            times.append(time.perf_counter() - started)

    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    wall = time.perf_counter() - started
    if isinstance(http, AsyncLoggedClient):
        await asyncio.to_thread(http.exporter.flush)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Round(statistics.median(times) * 1_000, statistics.quantiles(times, n=100)[98] * 1_000, cpu, wall)


async def compare(url: str, arguments: argparse.Namespace, folder: Path) -> dict[str, list[Round]]:
    """The rounds of both sides, taken in turns, the first to go changing each time; one to warm up before."""
    rounds: dict[str, list[Round]] = {"without": [], "with": []}
    shape = (url, arguments.calls, arguments.concurrency, arguments.stream)
    with Exporter(JsonlFile(folder / "calls.jsonl"), workload_id="w", client_id="c") as exporter:
        clients = {
            "without": httpx.AsyncClient(limits=LIMITS, follow_redirects=True),
            "with": AsyncLoggedClient(exporter),
        }
        for client in clients.values():
            await measure(client, url, arguments.concurrency, arguments.concurrency, arguments.stream)
        for number in range(arguments.rounds):
            for side in sorted(clients, reverse=bool(number % 2)):
                rounds[side].append(await measure(clients[side], *shape))
        for client in clients.values():
            await client.aclose()
    counts = exporter.counts
    expected = arguments.calls * arguments.rounds + arguments.concurrency
    if counts.written != expected or len((folder / "calls.jsonl").read_bytes().splitlines()) != expected:
        raise SystemExit(f"of {expected} calls not all were logged: {counts}")
    return rounds


def main() -> None:
    """Print both sides and their difference; medians over the rounds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=1_000)
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds the mock takes for an answer")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--stream", action="store_true", help=f"answers in {PIECES} pieces")
    arguments = parser.parse_args()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(sender, arguments.latency), daemon=True
    )
    server.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            url = f"http://127.0.0.1:{receiver.recv()}/v1"
            rounds = asyncio.run(compare(url, arguments, Path(folder)))
    finally:
        server.terminate()
        server.join()
    found = {}
    for side, results in rounds.items():
        found[side] = Round(*(statistics.median(values) for values in zip(*results, strict=True)))
        median, p99, cpu, wall = found[side]
        print(
            f"{side:8} a call {median:8.2f} ms median, {p99:8.2f} ms p99; {arguments.calls} calls in {wall:.2f} s, "
            f"{cpu:.2f} s CPU"
        )
    more = [w - o for w, o in zip(found["with"], found["without"], strict=True)]
    a_call = 1_000 / arguments.calls
    print(
        f"overhead a call {more[0]:8.2f} ms median; {more[2] * a_call:.3f} ms CPU, {more[3] * a_call:.3f} ms of the "
        f"time for all"
    )


if __name__ == "__main__":
    main()
