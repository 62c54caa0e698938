"""The HTTP clients and transports that log: what passes them, and whose they can be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from openai import AsyncOpenAI, OpenAI

from flywheel_exporter import (
    AsyncLoggedClient,
    AsyncLoggingTransport,
    Exporter,
    LoggedClient,
    LoggingTransport,
    labels,
)
from tests.fakes.chat_server import ChatServer
from tests.fakes.chat_streams import streamed, text_chunks
from tests.integration.exporter.asking import ask, logged, sdk


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
