"""One service over HTTP: bounded retries of what may be repeated, and errors that say what the service said.

A request that creates a job is never repeated blindly: its answer may be lost after the work was done. Whoever sends
one looks up by name what became of it.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec

from blocks.endpoints.chat_answers import retry_after
from blocks.nemo.connection import NemoConnection
from flywheel.errors import EndpointRefused, RemoteError, RemoteRejected, TransientRemoteError

ATTEMPTS = 5
LONGEST_PAUSE = 30.0
LONGEST_EXCERPT = 500
REPEATABLE = frozenset({"GET", "HEAD", "DELETE", "PATCH"})
PAGE_SIZE = 100
MOST_PAGES = 1000


class Reply(NamedTuple):
    """An answer. `body` is the decoded JSON, None where there is none; `said` is what an error body says."""

    status: int
    body: Any
    said: str
    headers: httpx.Headers

    @property
    def document(self) -> dict[str, Any]:
        """The body as an object, empty where it is something else."""
        return self.body if isinstance(self.body, dict) else {}


class _Request(NamedTuple):
    method: str
    path: str
    content: bytes | Path | None
    headers: dict[str, str]
    params: Mapping[str, str] | None
    form: Mapping[str, str] | None
    any_body: bool


class Service:
    """One of the three services.

    Args:
        client: Shared by the services; closed by whoever made it.
        base_url: Without a slash at its end.
        name: What people call the service, for messages.
        token: Sent as a bearer token; None sends no header.
        first_retry: Seconds before the second attempt, doubled for each further one.
    """

    def __init__(
        self, client: httpx.AsyncClient, base_url: str, name: str, token: str | None, first_retry: float
    ) -> None:
        self.base_url = base_url
        self._client = client
        self._name = name
        self._token = token
        self._first_retry = first_retry

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | Path | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        also: Collection[int] = (),
        repeatable: bool | None = None,
        any_body: bool = False,
    ) -> Reply:
        """Send a request and return its answer.

        Args:
            path: Below the service's base URL, or a whole URL that the service handed out.
            json, content, form: The body: to be encoded as JSON, as it is (a path is streamed), or as a form.
            also: Statuses besides 2xx that the caller wants to see.
            repeatable: Whether it may be sent again after a failure that may pass. None: by the method.
            any_body: Whether a 2xx may have a body that is no JSON.

        Raises:
            TransientRemoteError: Connection, time-out, 429 or 5xx; for a request that is not repeatable nobody knows
                whether it was carried out.
            EndpointRefused: 401, 403, or a certificate that does not verify.
            RemoteRejected: Any other status.
        """
        if repeatable is None:
            repeatable = method in REPEATABLE
        if json is not None:
            content = msgspec.json.encode(json)
            headers = {"Content-Type": "application/json", **(headers or {})}
        request = _Request(method, path, content, dict(headers or {}), params, form, any_body)
        attempt = 1
        while True:
            outcome, pause = await self._once(request, also)
            if isinstance(outcome, Reply):
                return outcome
            if not repeatable or attempt >= ATTEMPTS:
                outcome.attempts = attempt
                raise outcome
            doubled = self._first_retry * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.0)
            await asyncio.sleep(min(LONGEST_PAUSE, max(doubled, pause or 0.0)))
            attempt += 1

    async def pages(self, path: str, params: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """Every entry of a listing, page by page."""
        for page in range(1, MOST_PAGES + 1):
            query = {**params, "page": str(page), "page_size": str(PAGE_SIZE)}
            listing = (await self.call("GET", path, params=query)).document
            entries = listing.get("data") or []
            for entry in entries:
                yield entry
            total = (listing.get("pagination") or {}).get("total_pages")
            if not entries or total is None or page >= total:
                return

    @asynccontextmanager
    async def download(self, path: str, accept: str, seconds: float) -> AsyncIterator[httpx.Response]:
        """A successful answer whose body is still to be read, redirects followed."""
        headers = {"Accept": accept, **self.authorization()}
        try:
            async with self._client.stream(
                "GET", f"{self.base_url}{path}", headers=headers, timeout=seconds, follow_redirects=True
            ) as response:
                if not response.is_success:
                    await response.aread()
                    raise self._failure("GET", path, _reply(response))
                yield response
        except (httpx.HTTPError, OSError) as error:
            raise self._unreachable("GET", path, error) from error

    async def _once(
        self, request: _Request, also: Collection[int]
    ) -> tuple[Reply | TransientRemoteError, float | None]:
        """One attempt: the answer, or a failure that may pass and the pause that the service asks for."""
        method, path = request.method, request.path
        own = not path.startswith(("http://", "https://"))  # a URL that was handed out is signed in itself
        headers = {"Accept": "application/json"} | (self.authorization() if own else {}) | request.headers
        content: Any = request.content
        if isinstance(content, Path):
            headers["Content-Length"] = str(
                content.stat().st_size
            )  # else httpx sends chunks, which stores refuse
            content = _chunks(content)
        url = f"{self.base_url}{path}" if own else path
        try:
            response = await self._client.request(
                method, url, content=content, headers=headers, params=request.params, data=request.form
            )
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            failure = self._unreachable(method, path, error)
            if not isinstance(failure, TransientRemoteError):
                raise failure from error
            return failure, None
        reply = _reply(response)
        understood = reply.body is not None or not response.content or request.any_body
        if reply.status in also or (response.is_success and understood):
            return reply, None
        failure = self._failure(method, path, reply)
        if not isinstance(failure, TransientRemoteError):
            raise failure
        return failure, retry_after(response.headers.get("Retry-After"))

    def authorization(self) -> dict[str, str]:
        """The header that shows who we are; empty where no key is needed."""
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _failure(self, method: str, path: str, reply: Reply) -> RemoteError:
        said = self._without_token(reply.said)
        text = f"{self._name} answered {reply.status} to {method} {path}: {said}"
        if reply.status in (401, 403):
            return EndpointRefused(f"{text}. Check the API key of the NeMo connection.")
        if reply.status in (408, 425, 429) or reply.status >= 500 or reply.status < 300:
            return TransientRemoteError(text)  # a 2xx gets here when a proxy's page stands where JSON should
        return RemoteRejected(text)

    def _unreachable(self, method: str, path: str, error: Exception) -> RemoteError:
        said = self._without_token(str(error) or type(error).__name__)
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            return EndpointRefused(f"{self.base_url} is no valid address of {self._name}: {said}")
        if "CERTIFICATE_VERIFY_FAILED" in said or isinstance(error.__cause__, ssl.SSLCertVerificationError):
            return EndpointRefused(
                f"The certificate of {self._name} at {self.base_url} does not verify ({said}). Put its authority's "
                "certificate into a file and name that in SSL_CERT_FILE."
            )
        kind = "gave no answer in time" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
        return TransientRemoteError(f"{self._name} at {self.base_url} {kind} ({method} {path}: {said})")

    def _without_token(self, text: str) -> str:
        return text.replace(self._token, "***") if self._token and len(self._token) > 7 else text


class NemoServices(NamedTuple):
    """The three services over one connection pool."""

    nemo: Service
    nim: Service
    datastore: Service


@asynccontextmanager
async def services(connection: NemoConnection) -> AsyncIterator[NemoServices]:
    """Open the three services; everything is closed when the block ends."""
    waits = connection.waits
    limits = httpx.Limits(max_connections=20, max_keepalive_connections=5)
    tls = _tls(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    async with httpx.AsyncClient(timeout=waits.request, limits=limits, verify=tls) as client:

        def service(url: str, name: str, token: str | None) -> Service:
            return Service(client, url, name, token, waits.first_retry)

        yield NemoServices(
            service(connection.nemo, "NeMo", connection.key),
            service(connection.nim, "The NIM", connection.key),
            # The Data Store wants a token to be there, whatever it is.
            service(connection.datastore, "The Data Store", connection.key or "nothing"),
        )


@functools.cache
def _tls(*authorities: str | None) -> ssl.SSLContext:
    """httpx's own context, made once for these authorities: making it takes longer than most requests."""
    return httpx.create_ssl_context()


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, 2**20):
            yield chunk


def _reply(response: httpx.Response) -> Reply:
    body: Any = None
    if response.content:
        try:
            body = msgspec.json.decode(response.content)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            body = None
    return Reply(response.status_code, body, _said(body, response), response.headers)


def _said(body: Any, response: httpx.Response) -> str:
    """The words of an error: `detail` as text or as a list of validation errors, else the beginning of the body."""
    detail = body.get("detail", body.get("error", body.get("message"))) if isinstance(body, dict) else None
    if isinstance(detail, list):
        parts = []
        for entry in detail:
            if isinstance(entry, dict):
                where = ".".join(str(step) for step in entry.get("loc") or [])
                parts.append(f"{where}: {entry.get('msg')}" if where else str(entry.get("msg")))
            else:
                parts.append(str(entry))
        text = "; ".join(parts)
    elif detail is not None:
        text = detail if isinstance(detail, str) else msgspec.json.encode(detail).decode()
    else:
        text = response.text
    text = " ".join(text.split())
    return text[:LONGEST_EXCERPT] + (" ..." if len(text) > LONGEST_EXCERPT else "") or "(nothing)"
