"""From a call that went by to the record that is logged. Runs in the background."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from flywheel_exporter.calls import Call
from flywheel_exporter.completions import Streamed, loads, reassembled
from flywheel_exporter.events import events

SHOWN = 2_000  # characters kept of an answer that is no JSON
OK = range(200, 300)


def record_of(call: Call) -> dict[str, Any]:
    """The record of a call.

    Beside what every log has, `time_to_first_token_ms` of a streamed answer, `status_code` of one that is no success,
    and `incomplete`, a sentence, where the answer is not all that the model said or would have said.

    Raises:
        ValueError: The request's body is not a JSON object.
    """
    request = loads(call.body)
    if not isinstance(request, dict):
        raise ValueError("the request is not a JSON object")
    response, incomplete, first_token = _response_of(call)
    record: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "timestamp": _iso(call.timestamp),
        **call.labels,
        "latency_ms": _milliseconds(call.latency),
    }
    if first_token is not None:
        record["time_to_first_token_ms"] = _milliseconds(first_token)
    record |= _tokens(response)
    if call.status is not None and call.status not in OK:
        record["status_code"] = call.status
    if incomplete:
        record["incomplete"] = incomplete
    record["request"] = request
    record["response"] = response
    return record


def _response_of(call: Call) -> tuple[dict[str, Any], str, float | None]:
    """The response as an object, why it is incomplete (or ""), and when the first token came (or None)."""
    if call.status is None:
        return _failure(call), f"no answer came: {_name(call)}", None
    if call.too_long:
        return {}, "the answer was longer than the exporter keeps", None
    parts = _unpacked(call)
    if parts is None:
        return {}, "the answer could not be unpacked", None
    if "text/event-stream" in call.headers.get("content-type", ""):
        streamed = reassembled(events(parts))
        return streamed.response, _why_incomplete(call, streamed), streamed.first_token
    body = b"".join([data for _, data in parts])
    cut_short = f"the answer broke off: {_name(call)}" if call.error is not None else ""
    try:
        response = loads(body)
    except ValueError:
        response = None
    if isinstance(response, dict):
        return response, "" if call.status in OK else cut_short, None
    text = body.decode(errors="replace")[:SHOWN]
    return {"error": {"type": "not_json", "message": text}}, cut_short, None


def _why_incomplete(call: Call, streamed: Streamed) -> str:
    if streamed.whole:
        return ""
    if call.error is None or isinstance(call.error, GeneratorExit):
        return "the stream was not read or not sent to its end"
    return f"the stream broke off: {_name(call)}"


def _unpacked(call: Call) -> list[tuple[float, bytes]] | None:
    """The body's parts as they were before packing, with the times at which they came."""
    if not call.headers.get("content-encoding"):
        return call.chunks
    clock = [0.0]

    def packed() -> Iterator[bytes]:
        for clock[0], data in call.chunks:
            yield data

    response = call.response_type(200, headers=dict(call.headers), content=packed())
    parts = []
    try:
        for data in response.iter_bytes():
            parts.append((clock[0], data))
    except Exception as error:  # httpx's, or its successor's
        if type(error).__name__ != "DecodingError":
            raise
        return parts or None  # broken off within its packing
    return parts


def _failure(call: Call) -> dict[str, Any]:
    return {"error": {"type": _name(call), "message": str(call.error)[:SHOWN]}}


def _name(call: Call) -> str:
    return type(call.error).__name__


def _tokens(response: dict[str, Any]) -> dict[str, int]:
    """The counts that the answer itself gives; nothing is estimated."""
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return {}
    named = {"tokens_in": usage.get("prompt_tokens"), "tokens_out": usage.get("completion_tokens")}
    return {name: count for name, count in named.items() if type(count) is int and count >= 0}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1_000, 3)
