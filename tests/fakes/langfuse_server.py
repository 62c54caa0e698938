"""A Langfuse that answers over a real socket, from its API's reference, and misbehaves as told.

Observations come newest first, in numbered pages of at most a hundred; the window is from `fromStartTime` on and before
`toStartTime`. An observation without a begin, which Langfuse does not have, counts as older than all.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

PUBLIC, SECRET = "pk-lf-1", "sk-lf-secret"
MOST = 100
ERA = datetime.min.replace(tzinfo=UTC)


class LangfuseServer:
    """Runs on a loopback port in a thread of its own.

    `observations` and `traces` may be changed at any time. `failures` are statuses, with headers, that the next
    requests get. `before` is called with the path and parameters of each request. `most_bytes` is the longest answer
    that it gives; a longer one is a 524, as of a proxy in front that lost patience.
    """

    def __init__(self) -> None:
        self.observations: list[dict[str, Any]] = []
        self.traces: list[dict[str, Any]] = []
        self.failures: list[tuple[int, dict[str, str]]] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.before: Callable[[str, Mapping[str, str]], None] = lambda path, parameters: None
        self.most_bytes = 5_000_000
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet

            def do_GET(self) -> None:
                status, headers, body = server._answer(self.path, self.headers.get("Authorization", ""))
                data = json.dumps(body).encode()
                if status == 200 and len(data) > server.most_bytes:
                    status, data = 524, b"timed out"
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> LangfuseServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)

    def _answer(self, target: str, authorization: str) -> tuple[int, dict[str, str], Any]:
        parts = urlsplit(target)
        parameters = dict(parse_qsl(parts.query))
        self.requests.append((parts.path, parameters))
        self.before(parts.path, parameters)
        if self.failures:
            status, headers = self.failures.pop(0)
            return status, headers, {"message": "told to fail"}
        wanted = base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode()
        if authorization != f"Basic {wanted}":
            return 401, {}, {"message": "Invalid credentials"}
        path = parts.path.removeprefix("/api/public")
        if path == "/observations":
            return self._listed(self.observations, "startTime", "StartTime", parameters)
        if path == "/traces":
            return self._listed(self.traces, "timestamp", "Timestamp", parameters)
        trace = next(
            (t for t in self.traces if path == f"/traces/{t['id']}" or unquote(path) == f"/traces/{t['id']}"),
            None,
        )
        return (200, {}, trace) if trace is not None else (404, {}, {"message": "not found"})

    def _listed(
        self, rows: list[dict[str, Any]], time: str, bound: str, parameters: Mapping[str, str]
    ) -> tuple[int, dict[str, str], Any]:
        page, limit = int(parameters.get("page", 1)), int(parameters.get("limit", 50))
        if not 1 <= limit <= MOST or page < 1:
            return 400, {}, {"message": "Invalid request data"}
        since, until = (parameters.get(f"{side}{bound}") for side in ("from", "to"))
        kind = parameters.get("type")
        found = [
            row
            for row in rows
            if (kind is None or row.get("type") == kind)
            and (since is None or _time(row.get(time)) >= _time(since))
            and (until is None or _time(row.get(time)) < _time(until))
        ]
        found.sort(key=lambda row: (_time(row.get(time)), str(row["id"])), reverse=True)
        meta = {"page": page, "limit": limit, "totalItems": len(found), "totalPages": -(-len(found) // limit)}
        return 200, {}, {"data": found[(page - 1) * limit : page * limit], "meta": meta}


def _time(written: str | None) -> datetime:
    return ERA if written is None else datetime.fromisoformat(written)
