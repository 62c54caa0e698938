"""Records as Langfuse holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flywheel.errors import DataError
from flywheel.records.timestamps import to_seconds
from tests.fakes.langfuse_server import LangfuseServer


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def observed(logged: Mapping[str, Any], number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A record as Langfuse would hold it: an observation, and the trace that it belongs to."""
    logged = dict(logged)
    request, response = logged.pop("request", None), logged.pop("response", None)
    trace = {"id": f"t{number}", "sessionId": logged.pop("conversation_id", None)}
    row = {
        "id": logged.pop("id", f"o{number}"),
        "traceId": trace["id"],
        "type": "GENERATION",
        "level": "DEFAULT",
    }
    row["input"] = request
    row["output"] = response["choices"][0]["message"] if response else None
    try:
        start = to_seconds(logged.get("timestamp"))
    except DataError:
        pass
    else:
        row["startTime"] = trace["timestamp"] = iso(start)
        logged.pop("timestamp")
        if isinstance(logged.get("latency_ms"), float):
            row["endTime"] = datetime.fromtimestamp(start + logged.pop("latency_ms") / 1e3, UTC).isoformat()
    if isinstance(logged.get("tokens_in"), int) and logged["tokens_in"] > 0:
        row["usageDetails"] = {"input": logged.pop("tokens_in")}
    row["metadata"] = {key: value for key, value in logged.items() if value is not None}
    return row, trace


def hold(server: LangfuseServer, records: Sequence[Mapping[str, Any]]) -> None:
    pairs = [observed(logged, number) for number, logged in enumerate(records)]
    server.observations = [row for row, _ in pairs]
    server.traces = [trace for _, trace in pairs]
