"""What the exporter costs an application: the same calls with and without it, in turns, in one run.

    python -m benchmarks.exporter [--calls 1000] [--concurrency 50] [--latency 1] [--stream]

`AsyncOpenAI` asks a mock endpoint in a process of its own that answers after the latency; a request is some 3 kB with
tools. Both sides use an httpx client with the same settings; the exporter writes to a file. Shown are the time of a
call as the application sees it, and apart from it what the exporter itself works: in the path of a call, and in its
background thread by that thread's own CPU clock. On a machine that is busy with other things only these two are sharp.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
from openai import AsyncOpenAI

from flywheel_exporter import AsyncLoggedClient, Exporter, JsonlFile, Line, Outcome
from flywheel_exporter.transports import observed

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


async def measure(
    clients: dict[str, httpx.AsyncClient], url: str, calls: int, concurrency: int, stream: bool
) -> dict[str, list[float]]:
    """Seconds of each call by client; each worker takes the clients in turns, call by call."""
    sdks = {
        name: AsyncOpenAI(base_url=url, api_key="none", http_client=http, max_retries=0)
        for name, http in clients.items()
    }
    numbers = iter(range(calls * len(clients)))
    times: dict[str, list[float]] = {name: [] for name in clients}
    names = list(clients)

    async def worker() -> None:
        for number in numbers:
            name = names[number % len(names)]
            messages: Any = [SYSTEM, {"role": "user", "content": f"Where is my order A-{number}?"}]
            started = time.perf_counter()
            answer = await sdks[name].chat.completions.create(
                model="m", messages=messages, tools=TOOLS, stream=stream
            )
            if stream:
                async for _ in answer:  # type: ignore[union-attr]
                    pass
            times[name].append(time.perf_counter() - started)

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return times


async def compare(
    url: str, arguments: argparse.Namespace, folder: Path
) -> tuple[dict[str, list[float]], float]:
    """The times of both sides, and the CPU seconds of the background thread for one call."""
    with Exporter(JsonlFile(folder / "calls.jsonl"), workload_id="w", client_id="c") as exporter:
        clients = {
            "without": httpx.AsyncClient(limits=LIMITS, follow_redirects=True),
            "with": AsyncLoggedClient(exporter),
        }
        await measure(clients, url, 2 * arguments.concurrency, arguments.concurrency, arguments.stream)
        await asyncio.to_thread(exporter.flush)
        before = _background_seconds()
        times = await measure(clients, url, arguments.calls, arguments.concurrency, arguments.stream)
        await asyncio.to_thread(exporter.flush, 60)
        background = (_background_seconds() - before) / arguments.calls
        for client in clients.values():
            await client.aclose()
    counts = exporter.counts
    expected = arguments.calls + 2 * arguments.concurrency
    if counts.written != expected or len((folder / "calls.jsonl").read_bytes().splitlines()) != expected:
        raise SystemExit(f"of {expected} calls not all were logged: {counts}")
    return times, background


def _background_seconds() -> float:
    [thread] = [thread for thread in threading.enumerate() if thread.name == "flywheel-exporter"]
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def in_the_calls_own_path(rounds: int = 2_000) -> float:
    """Seconds that the exporter works while the application waits for one call, all around it left out."""
    body = json.dumps({"messages": [SYSTEM], "tools": TOOLS}).encode()
    request = httpx.Request("POST", "http://model/v1/chat/completions", content=body)
    exporter = Exporter(_Nowhere(), queue_records=10 * rounds, batch_records=10 * rounds, flush_seconds=60)
    found = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(rounds):
            _read(observed(exporter, request, _answer))
        logged = time.perf_counter() - started
        started = time.perf_counter()
        for _ in range(rounds):
            _read(_answer())
        found.append((logged - (time.perf_counter() - started)) / rounds)
    exporter.close(60)
    return min(found)


class _Nowhere:
    def write(self, lines: Sequence[Line]) -> Outcome:
        return Outcome()

    def close(self) -> None: ...


def _answer() -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(b"{}"))


def _read(response: httpx.Response) -> None:
    assert isinstance(response.stream, httpx.SyncByteStream)
    for _ in response.stream:
        pass
    response.stream.close()


def main() -> None:
    """Print both sides, their difference, and what the exporter itself works for a call."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=1_000, help="of each side")
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds the mock takes for an answer")
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
            times, background = asyncio.run(compare(url, arguments, Path(folder)))
    finally:
        server.terminate()
        server.join()
    medians = {}
    for side, seconds in times.items():
        medians[side] = statistics.median(seconds) * 1_000
        quartiles = [1_000 * quartile for quartile in statistics.quantiles(seconds, n=4)]
        print(
            f"{side:8} {len(seconds)} calls, {arguments.concurrency} at once: median {medians[side]:.2f} ms, half of "
            f"them between {quartiles[0]:.2f} and {quartiles[2]:.2f} ms"
        )
    own = in_the_calls_own_path() * 1_000
    print(f"difference of the medians: {medians['with'] - medians['without']:+.2f} ms")
    print(
        f"the exporter's own work for a call: {own:.3f} ms in its path, {background * 1_000:.3f} ms in the background"
    )


if __name__ == "__main__":
    main()
