"""One request to Langfuse's public API, tried again where the failure may pass.

A pause doubles from half a second up to half a minute, drawn between half of that and all of it; a `Retry-After` is
honoured up to two minutes, since Langfuse's cloud counts requests by the minute.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from blocks.endpoints.chat_answers import excerpt, retry_after
from blocks.langfuse.settings import LangfuseSettings
from flywheel.errors import ConfigError, EndpointRefused, RemoteRejected, TransientRemoteError

RETRIED = frozenset({408, 429, 500, 502, 503, 504, 524})
LONGEST_PAUSE = 30.0
LONGEST_ASKED_FOR = 120.0


class TooMuchAtOnce(TransientRemoteError):
    """An answer did not come, and may where fewer observations are asked for."""


class LangfuseApi:
    """Requests to one project; close it when done.

    Args:
        sleep: Waits so many seconds.
    """

    def __init__(self, settings: LangfuseSettings, sleep: Callable[[float], None] = time.sleep) -> None:
        self.settings = settings
        self._sleep = sleep
        self._random = random.Random()
        try:
            self._client = httpx.Client(
                base_url=settings.host,
                auth=(settings.public_key, settings.secret_key),
                timeout=settings.timeout_seconds,
            )
        except httpx.InvalidURL as error:
            raise ConfigError(f"{settings.host} is no valid address: {error}") from error

    def __enter__(self) -> LangfuseApi:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **parameters: Any) -> dict[str, Any] | None:
        """A JSON object; None where there is nothing under the path.

        Raises: EndpointRefused, RemoteRejected, TransientRemoteError; TooMuchAtOnce where asking for less may help.
        """
        sent = {key: value for key, value in parameters.items() if value is not None}
        for attempt in range(1, self.settings.attempts + 1):
            asked: float | None = None
            last = attempt == self.settings.attempts
            try:
                answer = self._client.get(f"/api/public{path}", params=sent)
            except httpx.TimeoutException as error:
                if last:
                    raise self._gave_up("gave no answer in time", TooMuchAtOnce) from error
            except httpx.HTTPError as error:
                self._refuse_bad_certificate(error)
                if last:
                    raise self._gave_up(f"cannot be reached ({error})", TransientRemoteError) from error
            else:
                if answer.status_code not in RETRIED:
                    return self._document(answer)
                if last:
                    kind = TransientRemoteError if answer.status_code in (429, 503) else TooMuchAtOnce
                    said = f"still answers {answer.status_code} ({excerpt(answer.content)})"
                    raise self._gave_up(said, kind)
                asked = retry_after(answer.headers.get("retry-after"))
            self._sleep(self._pause(attempt, asked))
        raise AssertionError("the last attempt returns or raises")

    def _document(self, answer: httpx.Response) -> dict[str, Any] | None:
        host = self.settings.host
        if answer.status_code == 404:
            return None
        if answer.status_code in (401, 403):
            raise EndpointRefused(
                f"Langfuse at {host} does not accept our keys ({answer.status_code}); check LANGFUSE_PUBLIC_KEY and "
                "LANGFUSE_SECRET_KEY, and that they belong to this address."
            )
        if answer.status_code == 413:
            raise TooMuchAtOnce(f"Langfuse at {host} calls its answer too large (413).")
        if not answer.is_success:
            raise RemoteRejected(
                f"Langfuse at {host} refused a request ({answer.status_code}, {excerpt(answer.content)})."
            )
        try:
            document = msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            document = None
        if not isinstance(document, dict):
            raise EndpointRefused(f"What answers at {host} is not Langfuse; check the address.")
        return document

    def _gave_up(self, what: str, kind: type[TransientRemoteError]) -> TransientRemoteError:
        attempts = self.settings.attempts
        error = kind(f"Langfuse at {self.settings.host} {what} after {attempts} attempts; try again later.")
        error.attempts = attempts
        return error

    def _refuse_bad_certificate(self, error: BaseException) -> None:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise EndpointRefused(
                    f"The certificate of {self.settings.host} is not trusted; name your authority's certificates in "
                    "the environment variable SSL_CERT_FILE."
                ) from error
            cause = cause.__cause__ or cause.__context__

    def _pause(self, attempt: int, asked: float | None) -> float:
        grown = min(self.settings.first_pause * 2.0 ** (attempt - 1), LONGEST_PAUSE)
        return max(grown * self._random.uniform(0.5, 1.0), min(asked or 0.0, LONGEST_ASKED_FOR))
