"""The calls that steer an OpenAI-compatible service: few, small, and tried again where that is safe."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

from blocks.endpoints.chat_answers import excerpt, failure_of, retry_after
from flywheel.errors import ConfigError, EndpointRefused, RemoteError, TransientRemoteError

ATTEMPTS = 5
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
SECONDS_PER_MEGABYTE = 10.0
"""Added to the time-out of an upload; slower lines give up."""


class Api:
    """Calls of one service.

    Args:
        base_url: With the version, as in `https://api.openai.com/v1`.
        key: Sent as a bearer token; it stands in no error.
        timeout_seconds: Longest wait for one answer.
        first_pause: Seconds before the second attempt, doubled for each further one, with jitter.
    """

    def __init__(
        self, base_url: str, key: str | None, timeout_seconds: float = 60.0, first_pause: float = FIRST_PAUSE
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ConfigError(f"{base_url!r} is no address of a service; it begins with http:// or https://.")
        self.base_url = base_url.rstrip("/")
        self._key = key
        self._timeout = timeout_seconds
        self._first_pause = first_pause
        self._random = random.Random()
        # Made once: reading all trusted certificates costs more than a call does.
        secure = base_url.startswith("https://")
        self._tls = ssl.create_default_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """A JSON object; tried again where the failure may pass."""
        return self._document(await self._retried("GET", path, params=parameters))

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send what may be sent twice, and get a JSON object; tried again where the failure may pass."""
        return self._document(await self._retried("POST", path, json=dict(body)))

    async def tell(self, path: str, body: Mapping[str, Any]) -> None:
        """The same, where a success is all that counts: the answer may be any text."""
        await self._retried("POST", path, json=dict(body))

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send once: what a lost answer has left must be looked up before anything is sent again."""
        return self._document(self._good(await self._send("POST", path, json=dict(body))))

    async def delete(self, path: str) -> None:
        """Delete; what is gone already is no error."""
        await self._retried("DELETE", path, fine=404)

    async def upload(self, path: str, file: Path, name: str, **fields: str) -> dict[str, Any]:
        """Upload a file as multipart form data, read while it is sent. It is not tried again."""
        seconds = self._timeout + SECONDS_PER_MEGABYTE * file.stat().st_size / 1e6
        with file.open("rb") as content:
            parts = {"file": (name, content, "application/jsonl")}
            return self._document(
                self._good(await self._send("POST", path, data=fields, files=parts, timeout=seconds))
            )

    async def pause(self, attempt: int, asked_for: float | None = None) -> None:
        """Wait before the next attempt, doubled each time, with jitter."""
        seconds = self._first_pause * 2.0 ** (attempt - 1) * self._random.uniform(0.5, 1.0)
        await asyncio.sleep(min(LONGEST_PAUSE, max(seconds, asked_for or 0.0)))

    async def _retried(self, method: str, path: str, fine: int = 200, **more: Any) -> httpx.Response:
        attempt = 1
        while True:
            wait = None
            try:
                answer = await self._send(method, path, **more)
                wait = retry_after(answer.headers.get("retry-after"))
                return answer if answer.status_code == fine else self._good(answer)
            except TransientRemoteError:
                if attempt == ATTEMPTS:
                    raise
            await self.pause(attempt, wait)
            attempt += 1

    async def _send(
        self, method: str, path: str, timeout: float | None = None, **more: Any
    ) -> httpx.Response:
        url = f"{self.base_url}{path}"
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        seconds = timeout or self._timeout
        try:
            # A client for each call: calls are seconds apart, and a platform object belongs to no event loop.
            async with (
                asyncio.timeout(seconds),
                httpx.AsyncClient(headers=headers, timeout=seconds, verify=self._tls) as client,
            ):
                return await client.request(method, url, **more)
        except httpx.InvalidURL as error:
            raise ConfigError(f"{url} is no valid address: {error}") from error
        except (TimeoutError, httpx.TimeoutException):
            raise TransientRemoteError(f"{url} gave no answer within {seconds:g} seconds") from None
        except httpx.HTTPError as error:
            raise self._unreachable(url, error) from error

    def _good(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        failure = failure_of(answer.status_code, answer.content, str(answer.url))
        raise type(failure)(self._without_key(str(failure)))

    def _document(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            document = msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            document = None
        if not isinstance(document, dict):
            said = f"{answer.url} answered with what is no JSON object: {excerpt(answer.content)}"
            raise TransientRemoteError(self._without_key(said))
        return document

    def _unreachable(self, url: str, error: httpx.HTTPError) -> RemoteError:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return EndpointRefused(
                    f"the certificate of {url} is not trusted ({cause.verify_message}); correct the address, or name "
                    "your authority's certificates in the environment variable SSL_CERT_FILE."
                )
            cause = cause.__cause__ or cause.__context__
        said = self._without_key(str(error) or type(error).__name__)
        return TransientRemoteError(f"{url} cannot be reached or broke off: {said}")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text
