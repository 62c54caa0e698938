"""Keep-alive HTTP/1.1 to one address, for as little CPU a request as Python allows.

Evaluation asks one URL some thousand times a second; what a general client spends on cookies, redirects, proxies and
sessions for each request is then most of the time. Here a connection is an asyncio protocol, answers are parsed by
httptools, and the caller brings the head of the request ready-made. Nothing else is here: no redirects, no cookies,
no proxies. The caller bounds how much is under way; there is a connection for each request under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import zlib
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import httptools

from flywheel.errors import ConfigError

SECONDS_IDLE = 30.0
"""An unused connection is not used again after this; servers and firewalls drop them without a word."""

OnBody = Callable[[bytes], None]


class ConnectionBroke(OSError):
    """The other side ended the connection before the answer was whole, or spoke no HTTP."""


class AnswerTooLarge(Exception):
    """An answer has more bytes than allowed; unpacked ones if it is packed."""


class Reply(NamedTuple):
    """An answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Address(NamedTuple):
    """A URL in the parts that a connection needs."""

    tls: bool
    host: str
    port: int
    host_header: str
    path: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Raises: ConfigError where `url` is no http(s) address, or carries a password."""
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname or ""
            host = host if ":" in host else host.encode("idna").decode()
        except ValueError as error:  # UnicodeError of a name that cannot be one is a ValueError too
            raise ConfigError(f"{url} is no valid address: {error}") from error
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(f"{url!r} is no address of an endpoint; it begins with http:// or https://.")
        if parts.username or parts.password:
            raise ConfigError("an endpoint's address must not hold a user or a password; use an API key.")
        tls = parts.scheme == "https"
        shown = f"[{host}]" if ":" in host else host
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + (f"?{parts.query}" if parts.query else "")
        return cls(tls, host, port or (443 if tls else 80), shown + (f":{port}" if port else ""), path)


class Connections:
    """Connections to one address, used again while they live.

    Args:
        address: Where.
        headers: Sent with every request, without Host and Content-Length.
        most_bytes: Largest answer.
    """

    def __init__(self, address: Address, headers: dict[str, str], most_bytes: int) -> None:
        self._address = address
        self._most_bytes = most_bytes
        lines = [f"POST {address.path} HTTP/1.1", f"Host: {address.host_header}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._head = "\r\n".join([*lines, "Content-Length: "]).encode("latin-1")
        self._idle: list[_Connection] = []
        self._tls = ssl.create_default_context() if address.tls else None

    async def post(self, body: bytes, on_body: OnBody | None = None) -> Reply:
        """Send `body` and wait for the whole answer, without a bound; cancelling closes the connection.

        Args:
            on_body: Gets every piece of the body as it comes; the reply's body is then empty.

        Raises:
            AnswerTooLarge.
            OSError: No connection, or it broke; ssl.SSLCertVerificationError where the certificate is not trusted.
        """
        loop = asyncio.get_running_loop()
        connection = self._reusable(loop.time())
        reused = connection is not None
        while True:
            if connection is None:
                connection = await self._connect(loop)
            try:
                reply = await connection.exchange(
                    b"%b%d\r\n\r\n%b" % (self._head, len(body), body), self._most_bytes, on_body
                )
            except ConnectionBroke:
                # A server may close an idle connection just when it is used again: that is no failure yet.
                if reused and not connection.heard:
                    connection, reused = None, False
                    continue
                raise
            if connection.usable:
                connection.idle_since = loop.time()
                self._idle.append(connection)
            return reply

    async def close(self) -> None:
        """Close what is idle; what is under way was cancelled by its caller."""
        closing = [connection.close() for connection in self._idle]
        self._idle.clear()
        if closing:
            await asyncio.wait(closing, timeout=1)

    def _reusable(self, now: float) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now - connection.idle_since < SECONDS_IDLE:
                return connection
            connection.abort()
        return None

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        address = self._address
        _, connection = await loop.create_connection(
            lambda: _Connection(loop),
            address.host,
            address.port,
            ssl=self._tls,
            server_hostname=address.host if self._tls else None,
            happy_eyeballs_delay=None if _is_ip(address.host) else 0.25,
        )
        return connection


class _Connection(asyncio.Protocol):
    """One connection, with at most one request under way. The methods `on_*` are called by the parser."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._gone: asyncio.Future[None] = loop.create_future()
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._size = self._most_bytes = 0
        self._on_body: OnBody | None = None
        self._unpack: Callable[[bytes], bytes] | None = None
        self._in_body = False
        self.heard = False
        self.usable = False
        self.idle_since = 0.0

    async def exchange(self, request: bytes, most_bytes: int, on_body: OnBody | None) -> Reply:
        transport = self._transport
        if transport is None or not self.usable:
            raise ConnectionBroke("the connection was closed")
        self._most_bytes, self._on_body = most_bytes, on_body
        self.heard = self.usable = False
        waiter: asyncio.Future[Reply] = self._loop.create_future()
        self._waiter = waiter
        transport.write(request)
        try:
            return await waiter
        except BaseException:  # a cancelled request must not leave its answer to the next
            self.abort()
            raise
        finally:
            self._waiter = None

    def close(self) -> asyncio.Future[None]:
        """Close in order; the future is done when the connection is gone."""
        self.usable = False
        if self._transport is not None:
            self._transport.close()
        return self._gone

    def abort(self) -> None:
        """Close at once."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.usable = True

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:  # nobody asked
            self.abort()
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(ConnectionBroke("the server wants to speak another protocol"))
        except httptools.HttpParserError as error:
            cause = error.__context__  # what one of our methods below raised comes wrapped
            self._fail(cause if isinstance(cause, AnswerTooLarge) else ConnectionBroke(_words(error)))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        if not self._gone.done():
            self._gone.set_result(None)
        if self._waiter is None or self._waiter.done():
            return
        until_the_end = "content-length" not in self._headers and "transfer-encoding" not in self._headers
        if error is None and self._in_body and until_the_end:
            self._finish()
        else:
            self._fail(ConnectionBroke(str(error or "the connection was closed before the answer was whole")))

    # --- httptools -------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._headers, self._chunks, self._size, self._unpack = {}, [], 0, None

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._in_body = True
        packing = self._headers.get("content-encoding", "").lower()
        if packing in (
            "gzip",
            "x-gzip",
            "deflate",
        ):  # not asked for, but some gateways pack whatever they pass on
            self._unpack = self._unpacked(zlib.decompressobj(47))

    def on_body(self, data: bytes) -> None:
        if self._unpack is not None:
            data = self._unpack(data)
        self._size += len(data)
        if self._size > self._most_bytes:
            raise AnswerTooLarge
        if self._on_body is not None:
            self._on_body(data)
        else:
            self._chunks.append(data)

    def on_message_complete(self) -> None:
        self._in_body = False
        if self._parser.get_status_code() >= 200:  # what comes before is no answer yet
            self.usable = self._parser.should_keep_alive()
            self._finish()

    def _finish(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            chunks = self._chunks
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            self._waiter.set_result(Reply(self._parser.get_status_code(), self._headers, body))
        if not self.usable:
            self.abort()

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.abort()

    def _unpacked(self, unpacker: zlib._Decompress) -> Callable[[bytes], bytes]:
        def unpack(data: bytes) -> bytes:
            try:
                return unpacker.decompress(data, self._most_bytes - self._size + 1)
            except zlib.error as error:
                raise httptools.HttpParserError(f"the body cannot be unpacked: {error}") from error

        return unpack


def _words(error: Exception) -> str:
    return f"the answer is no HTTP: {error.__context__ or error}"


def _is_ip(host: str) -> bool:
    with contextlib.suppress(ValueError):
        import ipaddress

        ipaddress.ip_address(host)
        return True
    return False
