"""As much of Elasticsearch as a client that loads wants to see: an index, and a bulk API that answers as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]
"""A status, and a body: an object, text, or None for what Elasticsearch would say."""


class BulkServer:
    """Keeps documents by id. `respond(ids)` may answer a bulk request in the place of Elasticsearch.

    `refuse(id)` gives the status of a single document, 201 to take it. The answers to the next `lost` bulk requests are
    lost on their way, after the work. Every request's path is in `paths`; of bulk
    requests the ids are in `requests`, the headers in `headers`.
    """

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.headers: list[Any] = []
        self.paths: list[str] = []
        self.documents: dict[str, Any] = {}
        self.exists = False
        self.lost = 0
        self.create: Answer = (200, None)
        self.respond: Callable[[list[str]], Answer] = lambda ids: (200, None)
        self.refuse: Callable[[str], int] = lambda name: 201
        self.mapping: dict[str, Any] = {}
        self.url = ""
        self._lock = threading.Lock()

    def bulk(self, headers: Any, body: bytes) -> Answer:
        lines = body.split(b"\n")[:-1]
        ids = [json.loads(line)["create"]["_id"] for line in lines[::2]]
        with self._lock:
            self.requests.append(ids)
            self.headers.append(headers)
            status, answer = self.respond(ids)
            if answer is None and status == 200:
                items = [self._create(name, line) for name, line in zip(ids, lines[1::2], strict=True)]
                answer = {"items": items}
            if self.lost:
                self.lost -= 1
                return 502, "<html>Bad gateway</html>"
        return status, answer

    def _create(self, name: str, line: bytes) -> dict[str, Any]:
        status = 409 if name in self.documents else self.refuse(name)
        if status == 201:
            self.documents[name] = json.loads(line)
            return {"create": {"status": 201}}
        return {
            "create": {"status": status, "error": {"type": f"type_{status}", "reason": f"reason of {name}"}}
        }


@contextmanager
def bulk_server() -> Iterator[BulkServer]:
    """A running server on a free loopback port."""
    state = BulkServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = self.path.partition("?")[0]
            state.paths.append(f"{self.command} {path}")
            status: int
            answer: Any
            if path.endswith("/_bulk"):
                status, answer = state.bulk(self.headers, body)
            elif self.command == "HEAD":
                status, answer = (200 if state.exists else 404), ""
            elif path.endswith("/_mapping"):
                status, answer = 200, {"index": {"mappings": state.mapping}}
            elif self.command == "PUT" and "_index_template" not in path:
                status, answer = state.create
            else:
                status, answer = 200, {"acknowledged": True}
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer or {}).encode()
            self.send_response(status)
            self.send_header("x-elastic-product", "Elasticsearch")
            self.send_header("content-type", "text/html" if isinstance(answer, str) else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET = do_PUT = do_HEAD = _handle  # noqa: N815

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
