"""What an endpoint's HTTP answer means: a chat completion, a failure that may pass, or a refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from flywheel.errors import EndpointRefused, RemoteError, RemoteRejected, TransientRemoteError

_PASSING = frozenset({408, 409, 423, 425, 429})
_REFUSING_US = frozenset({401, 402, 403, 404, 405, 407, 410})
_LONGEST_EXCERPT = 300
_OVERFLOW = re.compile(
    r"context_length_exceeded|context (length|window|size)|maximum context|prompt is too long|too many (input )?tokens"
    r"|input (is too long|length)|exceeds? .{0,40}max.{0,20}(tokens|length)",
    re.IGNORECASE,
)
_DECODER = msgspec.json.Decoder()


def read_answer(status: int, body: bytes, url: str) -> dict[str, Any]:
    """The chat completion in an HTTP answer.

    Raises:
        TransientRemoteError: Busy, broken for now, or an answer that is no chat completion (a proxy's error page).
        EndpointRefused: Whatever is asked here will be refused: wrong key, unknown model, wrong address.
        RemoteRejected: This request is refused; asking again changes nothing.
    """
    document = _decoded(body)
    if 200 <= status < 300 and isinstance(document, dict):
        if is_completion(document):
            return document
        status = _status_within(document)
    if 200 <= status < 300:
        raise TransientRemoteError(f"{url} answered with what is no chat completion: {excerpt(body)}")
    raise _failure(status, _message(document) or excerpt(body), document, url)


def document_of(status: int, body: bytes, url: str) -> dict[str, Any]:
    """The JSON object in an HTTP answer that is a success; raises as `read_answer` does."""
    document = _decoded(body)
    if 200 <= status < 300 and isinstance(document, dict):
        if not document.get("error"):
            return document
        status = _status_within(document)
    if 200 <= status < 300:
        raise TransientRemoteError(f"{url} answered with what is no JSON object: {excerpt(body)}")
    raise _failure(status, _message(document) or excerpt(body), document, url)


def failure_of(status: int, body: bytes, url: str) -> RemoteError:
    """The error that an HTTP answer with this status amounts to, with what its body says."""
    document = _decoded(body)
    return _failure(status, _message(document) or excerpt(body), document, url)


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for, as a number or as an HTTP date; None where it does not."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - (now or datetime.now(UTC))).total_seconds()
    return seconds if 0 <= seconds < float("inf") else None


def excerpt(body: bytes) -> str:
    """The beginning of a body on one line, fit for an error message."""
    text = " ".join(body[: 4 * _LONGEST_EXCERPT].decode("utf-8", "replace").split())
    if not text:
        return "an empty body"
    return text if len(text) <= _LONGEST_EXCERPT else text[:_LONGEST_EXCERPT] + "…"


def _failure(status: int, message: str, document: Any, url: str) -> RemoteError:
    said = f"{url} answered {status}: {message.rstrip('.')}"
    if 300 <= status < 400:
        return EndpointRefused(f"{said}. Set the address that it points to as the endpoint's base_url.")
    if status in _PASSING or status >= 500:
        return TransientRemoteError(said)
    if status in (401, 403, 407):
        return EndpointRefused(f"{said}. Check the endpoint's API key and what it may use.")
    if status in _REFUSING_US:
        return EndpointRefused(f"{said}. Check the endpoint's address and the name of the model.")
    if status == 413 or _OVERFLOW.search(message) or _code(document) == "context_length_exceeded":
        return RemoteRejected(f"the prompt does not fit into the model's context ({said})")
    return RemoteRejected(said)


def _decoded(body: bytes) -> Any:
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def is_completion(document: Mapping[str, Any]) -> bool:
    """Whether a document holds an answer, of whatever quality."""
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        return False
    return isinstance(choices[0].get("message"), Mapping)


def _status_within(document: Mapping[str, Any]) -> int:
    """Some gateways put an error and its code into an answer with status 200."""
    error = document.get("error")
    code = error.get("code") if isinstance(error, Mapping) else None
    if isinstance(code, int) and 300 <= code < 600:
        return code
    return 502 if error else 200


def _message(document: Any) -> str | None:
    """What an error document says, in the shapes that servers use: `error.message`, `error`, `message`, `detail`."""
    if not isinstance(document, Mapping):
        return None
    for value in (document.get("error"), document.get("message"), document.get("detail")):
        if isinstance(value, Mapping):
            value = value.get("message")
        if isinstance(value, str) and value:
            return excerpt(value.encode("utf-8", "replace"))
    return None


def _code(document: Any) -> Any:
    error = document.get("error") if isinstance(document, Mapping) else None
    return error.get("code") if isinstance(error, Mapping) else None
