"""Asking one model endpoint by POST: attempts, pauses, limits, errors by class. Chat and embeddings stand on it.

aiohttp and httpx do more for each request than evaluation can afford; see `blocks.endpoints.http_connections`.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from blocks.endpoints.chat_answers import retry_after
from blocks.endpoints.endpoint_limits import Bounds, EndpointLimits, limits_of
from blocks.endpoints.http_connections import Address, AnswerTooLarge, Connections, OnBody, Reply
from blocks.ports import Endpoint
from flywheel.errors import (
    ConfigError,
    EndpointRefused,
    RemoteError,
    RemoteRejected,
    TransientRemoteError,
)

LARGEST_ANSWER = 20_000_000
"""Bytes of an answer beyond which it is refused."""

LONGEST_PAUSE = 60.0
"""Seconds between two attempts at most, whatever the endpoint asks for."""

_WORKING = frozenset({408, 409, 423, 425, 429})  # it may come later, but somebody is there
T = TypeVar("T")
Made = TypeVar("Made", covariant=True)


class Reader(Protocol[Made]):
    """Makes something of an answer, or raises the `RemoteError` that it amounts to."""

    def __call__(self, status: int, body: bytes, url: str, /) -> Made: ...


class Answered(NamedTuple, Generic[T]):
    """What was made of the answer, milliseconds from sending to the last byte, and the number of attempts."""

    value: T
    latency_ms: float
    attempts: int


class _Failed(NamedTuple):
    """An attempt that went wrong, and the pause that the endpoint asks for, in seconds."""

    error: TransientRemoteError
    wait: float | None


class EndpointClient:
    """Use it as an async context manager; one client serves any number of tasks.

    Args:
        endpoint: Where; the key is read from the environment when the client is entered.
        path: Below the endpoint's base URL.
        timeout_seconds: Longest wait for one answer.
        max_attempts: Tries for one request, the first included.
        bounds: What the endpoint allows, all its clients together.
        first_pause: Seconds before the second attempt, doubled for each further one; the pause is drawn between half
            of that and all of it, so that workers that failed together do not come back together.
        key: The API key, where it does not stand in the environment.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        path: str,
        *,
        timeout_seconds: float,
        max_attempts: int,
        bounds: Bounds,
        first_pause: float = 0.5,
        key: str | None = None,
    ) -> None:
        self.url = f"{endpoint.base_url.rstrip('/')}{path}"
        self._address = Address.of(self.url)
        self._endpoint = endpoint
        self._timeout = timeout_seconds
        self._max_attempts = max_attempts
        self._bounds = bounds
        self._first_pause = first_pause
        self._random = random.Random()
        self._key = key
        self._connections: Connections | None = None
        self._limits = EndpointLimits(bounds)

    async def __aenter__(self) -> EndpointClient:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "User-Agent": "flywheel",
        }
        self._key = _key_of(self._endpoint, self._key)
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._connections = Connections(self._address, headers, LARGEST_ANSWER)
        self._limits = limits_of(f"{self._address.host}:{self._address.port}", self._bounds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connections is not None:
            await self._connections.close()
            self._connections = None

    async def post(
        self,
        data: bytes,
        read: Reader[T],
        *,
        tokens: int = 0,
        used: Callable[[T], int | None] | None = None,
        on_body: Callable[[], OnBody] | None = None,
    ) -> Answered[T]:
        """Send `data` until there is an answer.

        Args:
            read: Makes the result of an answer.
            tokens: What the request will cost, about, for the bound a minute.
            used: What it did cost, from the result.
            on_body: Called for each attempt; what it returns gets the pieces of the answer's body as they come.

        Raises:
            EndpointRefused: The endpoint refuses us whatever we ask.
            RemoteRejected: It refuses this request; the message says so where the prompt is too long.
            TransientRemoteError: It still failed at the last attempt.
        """
        limits = self._limits
        attempt = 1
        while True:
            try:
                async with limits.slots:
                    try:
                        await limits.turn(tokens, self.url)
                        started = time.perf_counter()
                        outcome = await self._once(data, read, on_body() if on_body else None)
                        milliseconds = (time.perf_counter() - started) * 1000
                    finally:
                        limits.circuit.abandoned()  # however it ended, nobody waits for this request any more
            except RemoteError as error:
                error.attempts = attempt
                raise
            if not isinstance(outcome, _Failed):
                if used is not None:
                    limits.settle(tokens, used(outcome))
                return Answered(outcome, milliseconds, attempt)
            if attempt >= self._max_attempts:
                outcome.error.attempts = attempt
                raise outcome.error
            await asyncio.sleep(self._pause(attempt, outcome.wait))
            attempt += 1

    async def _once(self, data: bytes, read: Reader[T], on_body: OnBody | None) -> T | _Failed:
        """One attempt: what was made of the answer, or a failure that may pass."""
        if self._connections is None:
            raise RuntimeError("the client is not open; use it in an `async with` block")
        circuit = self._limits.circuit
        reply: Reply | None = None
        try:
            async with asyncio.timeout(self._timeout):
                reply = await self._connections.post(data, on_body)
            value = read(reply.status, reply.body, self.url)
            circuit.success()
            return value
        except RemoteError as error:
            said = self._without_key(str(error))
            if not isinstance(error, TransientRemoteError):
                circuit.success()  # somebody is there
                raise type(error)(said) from None
        except TimeoutError:
            said = f"{self.url} gave no answer within {self._timeout:g} seconds"
        except AnswerTooLarge:
            circuit.success()
            raise RemoteRejected(
                f"{self.url} sent more than {LARGEST_ANSWER:,} bytes for one answer"
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise EndpointRefused(
                f"the certificate of {self.url} is not trusted ({error.verify_message}); correct the address, or name "
                "your authority's certificates in the environment variable SSL_CERT_FILE."
            ) from None
        except OSError as error:
            said = f"{self.url} cannot be reached or broke off: {str(error) or type(error).__name__}"
        if reply is not None and reply.status in _WORKING:
            circuit.success()
        else:
            circuit.failure(said)
        return _Failed(TransientRemoteError(said), self._asked_for(reply) if reply else None)

    def _asked_for(self, reply: Reply) -> float | None:
        wait = retry_after(reply.headers.get("retry-after"))
        if reply.status == 429 and wait:
            self._limits.hold(min(wait, LONGEST_PAUSE))  # it counts all our requests together
        return wait

    def _pause(self, attempt: int, asked_for: float | None) -> float:
        pause = self._first_pause * 2.0 ** (attempt - 1) * self._random.uniform(0.5, 1.0)
        return min(LONGEST_PAUSE, max(pause, asked_for or 0.0))

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _key_of(endpoint: Endpoint, given: str | None) -> str | None:
    """The key: the one given, else that of the environment variable which the endpoint names."""
    where = "that was given"
    key = given
    if key is None and (name := endpoint.api_key_env) is not None:
        where = f"in the environment variable {name}"
        key = os.environ.get(name, "").strip()
        if not key:
            raise ConfigError(
                f"the endpoint's API key is not set; put it into the environment variable {name}."
            )
    if key is not None and any(ord(char) < 33 or ord(char) > 126 for char in key):
        raise ConfigError(f"the API key {where} holds characters that no key has.")
    return key


def count_of(document: Mapping[str, Any], field: str) -> int | None:
    """A count from the `usage` of an answer, None where it states none."""
    usage = document.get("usage")
    value = usage.get(field) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
