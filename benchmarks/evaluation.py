"""How close evaluation comes to what an endpoint allows: requests per second as a share of concurrency / latency.

    python -m benchmarks.evaluation [--requests 2000] [--concurrency 64 256] [--latency 0.05] [--memory]

The endpoint is a mock in a process of its own that answers every chat request after the latency. Measured is all that
an evaluation does: items from their file, replay, asking, a line for each answer, scores, and the ordered file at the
end. Beside it, in turn with it, stands bare aiohttp that only sends ready-made bodies: on a machine that is busy with
other things compare the two, and the CPU seconds, and take the best of the rounds. `--memory` evaluates 2,000 and
100,000 items against an endpoint inside the process and shows the peak of each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from blocks.endpoints.chat_client import ChatClient
from blocks.ports import Endpoint
from flywheel.config import EvaluationConfig
from flywheel.evaluation.aggregate import aggregate
from flywheel.evaluation.files import read_items
from flywheel.evaluation.replay import replay
from flywheel.evaluation.runner import Answer, run_evaluation
from flywheel.results import EvalItem

ITEMS = "eval_data.jsonl"
ANSWER: dict[str, Any] = {
    "id": "cmpl-1",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "track_order", "arguments": '{"order_id": "A-1001", "days": 3}'},
                    }
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {"prompt_tokens": 412, "completion_tokens": 24, "total_tokens": 436},
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Looks up what the customer asks for. " * 4,
            "parameters": {
                "type": "object",
                "properties": {"order_id": {"type": "string"}, "days": {"type": "integer", "default": 3}},
                "required": ["order_id"],
            },
        },
    }
    for name in ("track_order", "cancel_order", "refund_order", "change_address", "open_ticket")
]


class _Mock(asyncio.Protocol):
    """Just enough HTTP to answer one request after the other on a connection, for as little CPU as possible."""

    def __init__(self, latency: float, answer: bytes) -> None:
        self._latency, self._answer = latency, answer
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        if len(rest) >= length:
            self._buffer = rest[length:]
            asyncio.get_running_loop().call_later(self._latency, self._reply)

    def _reply(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._answer)


def serve(port: Connection, latency: float) -> None:
    """Run the mock until the process is ended; its port number goes into the pipe."""
    body = json.dumps(ANSWER).encode()
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Mock(latency, answer), "127.0.0.1", 0, backlog=4096)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def make_items(numbers: range) -> list[EvalItem]:
    """Tool-calling items of about 2.6 kB, as a router's log has them."""
    system = {"role": "system", "content": "You route the questions of customers to the right tool. " * 10}
    return [
        EvalItem(
            f"item-{n:06}",
            {
                "model": "large",
                "messages": [
                    system,
                    {"role": "user", "content": f"Where is my order A-{n}? It was due last week."},
                ],
                "tools": TOOLS,
                "temperature": 0,
                "max_tokens": 128,
            },
            ANSWER,
            f"cluster-{n}",
        )
        for n in numbers
    ]


async def measure_bare(url: str, bodies: list[bytes], concurrency: int) -> tuple[float, float]:
    """Wall and CPU seconds of aiohttp that sends these bodies and decodes the answers, and does nothing else."""
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    queue = iter(bodies)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def work() -> None:
            for body in queue:
                async with session.post(f"{url}/chat/completions", data=body) as reply:
                    msgspec.json.decode(await reply.read())

        await asyncio.gather(*(work() for _ in range(concurrency)))
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def measure(url: str, folder: Path, concurrency: int) -> tuple[float, float]:
    """Wall and CPU seconds of one whole evaluation of the items in `folder`."""
    config = EvaluationConfig(concurrency=concurrency, timeout_seconds=60)
    items = read_items(folder / ITEMS)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    async with ChatClient(Endpoint(url, "candidate"), config) as client:

        async def ask(item: EvalItem, /) -> Answer:
            return await client.complete(replay(item.request, "candidate", config).body)

        predictions = await run_evaluation(items, ask, folder / "predictions.jsonl", concurrency)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    wrong = [p for p in predictions if p.scores.get("function_name_and_args_accuracy") != 1]
    if wrong:
        raise SystemExit(f"{len(wrong)} answers were not scored as right, e.g. {wrong[0]}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_items(folder: Path, count: int) -> None:
    """The items as curation leaves them."""
    with (folder / ITEMS).open("wb") as file:
        for start in range(0, count, 1_000):
            for item in make_items(range(start, min(start + 1_000, count))):
                file.write(msgspec.json.encode(item) + b"\n")


def peak_memory(count: int) -> None:
    """Print the peak of a process that evaluates so many items and aggregates their scores."""

    async def ask(item: EvalItem, /) -> Answer:
        await asyncio.sleep(0)
        return Answer(json.loads(json.dumps(ANSWER)), 50.0)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_items(folder, count)
        items = read_items(folder / ITEMS)
        predictions = asyncio.run(run_evaluation(items, ask, folder / "predictions.jsonl", 64))
        found = aggregate(items, predictions, eval_type="base-eval", model="candidate")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{found.items:,} items: peak {peak:.0f} MB")


def main() -> None:
    """Print two lines for each concurrency: a whole evaluation, and bare aiohttp."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--latency", type=float, default=0.05, help="seconds the mock takes for an answer")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    parser.add_argument("--memory", action="store_true", help="show peaks of memory instead")
    arguments = parser.parse_args()
    processes = multiprocessing.get_context("spawn")
    if arguments.memory:
        for count in (2_000, 100_000):
            process = processes.Process(target=peak_memory, args=(count,))
            process.start()
            process.join()
        return
    receiver, sender = processes.Pipe(duplex=False)
    server = processes.Process(target=serve, args=(sender, arguments.latency), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{receiver.recv()}/v1"
    bodies = [msgspec.json.encode(item.request) for item in make_items(range(arguments.requests))]
    try:
        for concurrency in arguments.concurrency:
            rounds: dict[str, list[tuple[float, float]]] = {"evaluation": [], "bare aiohttp": []}
            for _ in range(arguments.rounds):
                with tempfile.TemporaryDirectory() as folder:
                    write_items(Path(folder), arguments.requests)
                    rounds["evaluation"].append(asyncio.run(measure(url, Path(folder), concurrency)))
                rounds["bare aiohttp"].append(asyncio.run(measure_bare(url, bodies, concurrency)))
            for name, measured in rounds.items():
                show(name, measured, arguments.requests, concurrency, concurrency / arguments.latency)
    finally:
        server.terminate()
        server.join()


def show(name: str, rounds: list[tuple[float, float]], requests: int, concurrency: int, bound: float) -> None:
    """One line of results; the best round counts."""
    seconds, cpu = min(rounds)
    print(
        f"{concurrency:5} at once, {name:12}: {requests / seconds:6.0f} requests/s, "
        f"{requests / seconds / bound:.2f} of the bound, {cpu:.2f} s CPU for {requests} requests, "
        f"rounds {', '.join(f'{requests / s / bound:.2f}' for s, _ in rounds)}"
    )


if __name__ == "__main__":
    main()
