"""How close evaluation comes to what an endpoint allows: requests per second as a share of concurrency / latency.

    python benchmarks/evaluation.py [--requests 2000] [--concurrency 64 256] [--latency 0.05]

The endpoint is a mock in a process of its own that answers every chat request after the latency. Measured is all that
an evaluation does: replay, asking, a line for each answer, scores, and the ordered file at the end. On a machine that
is busy with other things read the shares, and take the best of the rounds.
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

from blocks.chat_client import ChatClient
from blocks.ports import Endpoint
from flywheel.config import EvaluationConfig
from flywheel.evaluation.replay import replay
from flywheel.evaluation.runner import Answer, run_evaluation
from flywheel.results import EvalItem

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


def make_items(count: int) -> list[EvalItem]:
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
        for n in range(count)
    ]


async def measure(url: str, items: list[EvalItem], concurrency: int, folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one whole evaluation."""
    config = EvaluationConfig(concurrency=concurrency, timeout_seconds=60)
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


def main() -> None:
    """Print one line for each concurrency."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--latency", type=float, default=0.05, help="seconds the mock takes for an answer")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts")
    arguments = parser.parse_args()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(sender, arguments.latency), daemon=True
    )
    server.start()
    url = f"http://127.0.0.1:{receiver.recv()}/v1"
    items = make_items(arguments.requests)
    try:
        for concurrency in arguments.concurrency:
            bound = concurrency / arguments.latency
            rounds = []
            for _ in range(arguments.rounds):
                with tempfile.TemporaryDirectory() as folder:
                    rounds.append(asyncio.run(measure(url, items, concurrency, Path(folder))))
            seconds, cpu = min(rounds)
            rate = arguments.requests / seconds
            print(
                f"{concurrency:5} at once: {rate:6.0f} requests/s, {rate / bound:.2f} of the bound, "
                f"{cpu:.2f} s CPU for {arguments.requests} requests, "
                f"rounds {', '.join(f'{arguments.requests / s / bound:.2f}' for s, _ in rounds)}"
            )
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
