"""What Flywheel makes of what the exporter writes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from flywheel.cli.main import main
from flywheel_exporter import (
    AsyncLoggedClient,
    Exporter,
)
from tests.fakes.chat_server import ChatServer, completion, failure
from tests.fakes.chat_streams import call_part, chunk, streamed, text_chunks
from tests.integration.exporter.asking import TOOLS, logged, sdk


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
