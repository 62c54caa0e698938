"""Our own HTTP/1.1 against servers that do what HTTP allows, and what it does not."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from blocks.endpoints.http_connections import Address, AnswerTooLarge, ConnectionBroke, Connections, Reply
from flywheel.errors import ConfigError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class RawServer:
    """Answers each request on a connection with the next of the scripted byte strings; None closes."""

    def __init__(self, *script: bytes | None) -> None:
        self.script = list(script)
        self.requests: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self.script:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                answer = self.script.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if b"connection: close" in answer.lower() or b"until the end" in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(*script: bytes | None, most: int = 1_000) -> AsyncIterator[tuple[RawServer, Connections]]:
    raw = RawServer(*script)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connections = Connections(
        Address.of(f"http://127.0.0.1:{port}/v1/x?a=b"), {"Authorization": "Bearer k"}, most
    )
    try:
        yield raw, connections
    finally:
        await connections.close()
        server.close()
        await server.wait_closed()


async def once(connections: Connections) -> Reply:
    return await asyncio.wait_for(connections.post(b"hello"), 60)


async def test_a_connection_is_used_again_and_the_request_is_what_it_should_be() -> None:
    async with serving(OK, OK, OK) as (raw, connections):
        for _ in range(3):
            assert await once(connections) == Reply(200, {"content-length": "2"}, b"ok")
    assert raw.connections == 1
    head, _, body = raw.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v1/x?a=b HTTP/1.1"
    assert b"Authorization: Bearer k" in lines
    assert body == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nT: x\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nX: until the end\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(gzip.compress(b"ok")), gzip.compress(b"ok")),
    ],
    ids=["chunked", "until the end", "close", "continue", "hints", "packed"],
)
async def test_every_way_of_ending_an_answer_is_understood(answer: bytes) -> None:
    async with serving(answer, OK) as (_, connections):
        assert (await once(connections)).body == b"ok"
        assert (await once(connections)).body == b"ok"


async def test_a_connection_closed_while_idle_is_no_failure() -> None:
    async with serving(OK, None, OK) as (raw, connections):
        await once(connections)
        assert (await once(connections)).body == b"ok"  # closed just as it was used again
    assert raw.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nok",
        b"SSH-2.0-OpenSSH_9.6\r\nconnection: close\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=["nothing", "cut off", "not HTTP", "bad chunk", "badly packed", "upgrade"],
)
async def test_what_is_no_whole_answer_is_a_broken_connection(answer: bytes | None) -> None:
    async with serving(answer) as (_, connections):
        with pytest.raises(ConnectionBroke):
            await once(connections)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
async def test_an_answer_larger_than_allowed_is_not_kept(pack: Callable[[bytes], bytes]) -> None:
    body = pack(b"x" * 5_000)
    encoding = b"Content-Encoding: gzip\r\n" if pack is gzip.compress else b""
    answer = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (encoding, len(body), body)
    async with serving(answer) as (_, connections):
        with pytest.raises(AnswerTooLarge):
            await once(connections)


async def test_a_cancelled_request_closes_its_connection_and_leaves_nothing_to_the_next() -> None:
    come, gone = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"hello")
        come.set()
        await reader.read()  # until the other side closes
        gone.set()
        writer.close()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connections = Connections(Address.of(f"http://127.0.0.1:{port}/"), {}, 100)
    work = asyncio.create_task(connections.post(b"hello"))
    await asyncio.wait_for(come.wait(), 60)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await asyncio.wait_for(gone.wait(), 60)
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http://", "http://x:99999/", "http://u:p@x/", "x.y/v1", "http://[::1/"]
)
def test_what_is_no_address_is_a_settings_error(url: str) -> None:
    with pytest.raises(ConfigError):
        Address.of(url)


def test_addresses_are_taken_apart_as_http_wants_them() -> None:
    assert Address.of("https://Example.com/v1/ü") == Address(
        True, "example.com", 443, "example.com", "/v1/%C3%BC"
    )
    assert Address.of("http://[::1]:8000").host_header == "[::1]:8000"
