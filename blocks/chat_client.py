"""Asking a model over the OpenAI chat protocol: the hot path of evaluation.

aiohttp without a connection limit: the caller bounds how much is under way, and a pool that bounds it again only
queues. The body is encoded once, for all attempts.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from types import TracebackType
from typing import Any

import aiohttp
import msgspec

from blocks.chat_answers import read_answer, retry_after
from blocks.ports import Endpoint
from flywheel.config import EvaluationConfig
from flywheel.errors import ConfigError, RemoteError, RemoteRejected, TransientRemoteError
from flywheel.evaluation.runner import Answer

LARGEST_ANSWER = 20_000_000
"""Bytes of an answer beyond which it is refused."""

LONGEST_PAUSE = 60.0
"""Seconds between two attempts at most, whatever the endpoint asks for."""


class ChatClient:
    """Asks one endpoint. Use it as an async context manager; one client serves any number of tasks.

    Args:
        endpoint: Where and which model; the key is read from the environment when the client is entered.
        config: Time-out of one attempt and number of attempts.
        first_pause: Seconds before the second attempt, doubled for each further one; the pause is drawn between half
            of that and all of it, so that workers that failed together do not come back together.
    """

    def __init__(self, endpoint: Endpoint, config: EvaluationConfig, first_pause: float = 0.5) -> None:
        if not endpoint.base_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"{endpoint.base_url!r} is no address of an endpoint; it begins with http:// or https://."
            )
        self._url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        self._endpoint = endpoint
        self._config = config
        self._first_pause = first_pause
        self._random = random.Random()
        self._encoder = msgspec.json.Encoder()
        self._key: str | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ChatClient:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self._key = self._read_key()
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._config.timeout_seconds),
            headers=headers,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def complete(self, body: dict[str, Any]) -> Answer:
        """The chat completion for a request body, which is sent as it is.

        Raises:
            EndpointRefused: The endpoint refuses us whatever we ask.
            RemoteRejected: It refuses this request; the message says so where the prompt is too long.
            TransientRemoteError: It still failed at the last attempt.
        """
        data = self._encoder.encode(body)
        attempt = 1
        while True:
            started = time.perf_counter()
            try:
                response, wait = await self._once(data)
            except RemoteError as error:
                error.attempts = attempt
                raise
            if isinstance(response, dict):
                return Answer(response, (time.perf_counter() - started) * 1000, attempt)
            if attempt >= self._config.max_attempts:
                response.attempts = attempt
                raise response
            await asyncio.sleep(self._pause(attempt, wait))
            attempt += 1

    async def _once(self, data: bytes) -> tuple[dict[str, Any] | TransientRemoteError, float | None]:
        """One attempt: the completion, or what went wrong and the pause that the endpoint asks for."""
        if self._session is None:
            raise RuntimeError("the client is not open; use it in an `async with` block")
        wait = None
        try:
            async with self._session.post(self._url, data=data, allow_redirects=False) as reply:
                wait = retry_after(reply.headers.get("Retry-After"))
                content = await self._read(reply)
                status = reply.status
            return read_answer(status, content, self._url), None
        except TransientRemoteError as error:
            return TransientRemoteError(self._without_key(str(error))), wait
        except RemoteRejected as error:
            raise type(error)(self._without_key(str(error))) from None
        except TimeoutError:
            seconds = self._config.timeout_seconds
            return TransientRemoteError(f"{self._url} gave no answer within {seconds:g} seconds"), None
        except aiohttp.InvalidURL as error:
            raise ConfigError(f"{self._url} is no valid address: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            said = str(error) or type(error).__name__
            return TransientRemoteError(f"{self._url} cannot be reached or broke off: {said}"), None

    async def _read(self, reply: aiohttp.ClientResponse) -> bytes:
        packed = "Content-Encoding" in reply.headers  # then it may unpack to any size
        if not packed and reply.content_length is not None and reply.content_length <= LARGEST_ANSWER:
            return await reply.read()
        chunks: list[bytes] = []
        size = 0
        async for chunk in reply.content.iter_any():
            size += len(chunk)
            if size > LARGEST_ANSWER:
                reply.close()
                raise RemoteRejected(f"{self._url} sent more than {LARGEST_ANSWER:,} bytes for one answer")
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _pause(self, attempt: int, asked_for: float | None) -> float:
        pause = self._first_pause * 2.0 ** (attempt - 1) * self._random.uniform(0.5, 1.0)
        return min(LONGEST_PAUSE, max(pause, asked_for or 0.0))

    def _read_key(self) -> str | None:
        name = self._endpoint.api_key_env
        if name is None:
            return None
        key = os.environ.get(name, "").strip()
        if not key:
            raise ConfigError(
                f"the endpoint's API key is not set; put it into the environment variable {name}."
            )
        if any(ord(char) < 33 or ord(char) > 126 for char in key):
            raise ConfigError(
                f"the API key in the environment variable {name} holds characters that no key has."
            )
        return key

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text
