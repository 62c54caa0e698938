"""A proxy that adds to the test server the one aggregation it lacks and discovery needs: composite.

Everything else goes through as it is. A composite over two keyword fields, with missing buckets and `after`, is
answered from the documents themselves, with the metrics that discovery asks for.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@contextmanager
def with_composite(url: str) -> Iterator[str]:
    """The address of a proxy in front of the server at `url`."""
    proxy = _Proxy(("127.0.0.1", 0), _Handler)
    proxy.target = urlsplit(url).netloc
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join(timeout=60)


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    target = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Proxy

    def log_message(self, *arguments: Any) -> None:
        """Silence."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if b'"composite"' in body:
            status, answer = 200, json.dumps(self._composite(json.loads(body))).encode()
        else:
            status, answer = self._ask(self.command, self.path, body)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("x-elastic-product", "Elasticsearch")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve  # noqa: N815 - the names that the base class looks for

    def _ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.server.target, timeout=120)
        kind = self.headers.get("content-type") or "application/json"
        try:
            connection.request(method, path, body or None, {"content-type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _composite(self, request: dict[str, Any]) -> dict[str, Any]:
        path = f"{self.path.partition('?')[0]}"
        status, found = self._ask("POST", path, json.dumps({"size": 10_000}).encode())
        assert status == 200, found
        ((name, aggregation),) = request["aggs"].items()
        composite, metrics = aggregation["composite"], aggregation["aggs"]
        names = [next(iter(source)) for source in composite["sources"]]
        fields = [source[n]["terms"]["field"] for n, source in zip(names, composite["sources"], strict=True)]
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for hit in json.loads(found)["hits"]["hits"]:
            key = tuple(hit["_source"].get(field) for field in fields)
            groups.setdefault(key, []).append(hit)
        keys = sorted(groups, key=_order)
        if "after" in composite:
            after = tuple(composite["after"][n] for n in names)
            keys = [key for key in keys if _order(key) > _order(after)]
        keys = keys[: composite["size"]]
        buckets = [
            {"key": dict(zip(names, key, strict=True)), "doc_count": len(groups[key])}
            | {metric: _metric(what, groups[key]) for metric, what in metrics.items()}
            for key in keys
        ]
        result: dict[str, Any] = {"buckets": buckets}
        if buckets:
            result["after_key"] = buckets[-1]["key"]
        shards = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
        return {"timed_out": False, "_shards": shards, "hits": {"hits": []}, "aggregations": {name: result}}


def _order(key: tuple[Any, ...]) -> list[tuple[bool, str]]:
    return [(part is not None, part or "") for part in key]  # a missing value comes first


def _metric(what: dict[str, Any], hits: list[dict[str, Any]]) -> dict[str, Any]:
    ((kind, options),) = what.items()
    if kind == "top_hits":
        newest = sorted(hits, key=lambda hit: _number(hit["_source"].get("timestamp")) or 0, reverse=True)
        return {"hits": {"hits": newest[: options["size"]]}}
    values = [v for hit in hits if (v := _number(hit["_source"].get(options["field"]))) is not None]
    if not values:
        return {"value": None}
    return {"value": {"min": min, "max": max, "avg": lambda v: sum(v) / len(v)}[kind](values)}


def _number(value: Any) -> float | None:
    """A number, or a time in milliseconds; numbers of seconds are times of our mapping, so they are multiplied."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp() * 1000
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value * 1000 if 1e9 < value < 1e10 else value
