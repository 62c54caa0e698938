"""A server that gives ready pages of a log the way Elasticsearch does, and misbehaves as told.

It knows just enough of the protocol to be read from: mapping, point in time, counts, pages by time in slices, documents
by id, scroll. Record `i` has the time `BEGIN + i` seconds, and its payloads repeat after a while, so that a million
records take no memory. How it can misbehave stands in `elasticsearch_faults`. Run as a module it prints its address
and serves until it is stopped.
"""

from __future__ import annotations

import argparse
import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from blocks.elasticsearch.template import MAPPINGS

BEGIN = 1_750_000_000
INDEX = "log-store-stub"
MOST_READY = 100_000  # records that are written before they are asked for, some 2.8 kB each
Fault = Callable[["Handler"], bool]
"""Misbehaves instead of answering a search for records, and returns True; or returns False to let it be answered."""


class ElasticsearchStub(ThreadingHTTPServer):
    """Serves `records` calls of the workload `router` of the client `acme`.

    Faults are taken from `faults`, one for each search for records, until there are none left; None is no fault.

    Args:
        payloads: (request, response) pairs as JSON, used in turn.

    It lists `workloads` workloads when asked for all of them. `counts` puts figures in the place of what a count would
    find; `mappings` is what the index says of itself, `index` its own name, whatever name it is asked by.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, records: int, payloads: Sequence[tuple[bytes, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.records = records
        self.faults: deque[Fault | None] = deque()
        self.searches = 0
        self.counts: dict[str, int] = {}
        self.index = INDEX
        self.workloads = 1
        self._payloads = payloads
        self._ready: list[bytes] = []
        self._lock = threading.Lock()
        self._view = 0
        self.mappings: dict[str, Any] = MAPPINGS

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nothing to write about."""

    def next_fault(self) -> Fault | None:
        with self._lock:
            self.searches += 1
            return self.faults.popleft() if self.faults else None

    def open_view(self) -> str:
        with self._lock:
            self._view += 1
            return f"view-{self._view}"

    def lose_view(self) -> None:
        """All views that are open are gone."""
        with self._lock:
            self._view += 1

    def is_open(self, view: str) -> bool:
        return view == f"view-{self._view}"

    def get_ready(self) -> None:
        """Write all hits now, so that serving them later costs next to nothing."""
        self._ready = [self.hit(number) for number in range(self.records)]

    def hits(self, numbers: Sequence[int], *, slim: bool) -> bytes:
        if self._ready and not slim and isinstance(numbers, range) and numbers.step > 0:
            return b",".join(self._ready[numbers.start : numbers.stop : numbers.step])
        return b",".join([self.hit(number, slim=slim) for number in numbers])

    def hit(self, number: int, *, slim: bool = False) -> bytes:
        request, response = self._payloads[number % len(self._payloads)]
        body = b"" if slim else b',"request":%b,"response":%b' % (request, response)
        moment = BEGIN + number
        return (
            b'{"_index":"%b","_id":"d%d","_score":null,"_source":{"id":"r%d","timestamp":%d,"workload_id":"router",'
            b'"client_id":"acme"%b},"sort":[%d000,%d]}'
            % (self.index.encode(), number, number, moment, body, moment, number)
        )


class Handler(BaseHTTPRequestHandler):
    """One connection. What misbehaves in its place may use what does not begin with an underscore."""

    protocol_version = "HTTP/1.1"
    server: ElasticsearchStub
    disable_nagle_algorithm = True

    def log_message(self, *arguments: Any) -> None:
        """Silence."""

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        path = self.path.partition("?")[0]
        if path.endswith("/_mapping"):
            self.answer(json.dumps({self.server.index: {"mappings": self.server.mappings}}).encode())
        elif path.endswith("/_pit"):
            self.answer(json.dumps({"id": self.server.open_view()}).encode())
        elif path == "/_pit" or (path == "/_search/scroll" and self.command == "DELETE"):
            self.answer(b'{"succeeded":true}')
        elif path == "/_search/scroll":
            self._scroll(*(int(part) for part in body["scroll_id"].split("-")))
        elif "scroll=" in self.path:
            self._scroll(0, body.get("size", 10))
        elif path.endswith("/_search"):
            self._search(body)
        else:
            self.answer(b'{"version":{"number":"8.15.3"},"tagline":"You Know, for Search"}')

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that the base class looks for

    def _search(self, body: dict[str, Any]) -> None:
        view = body.get("pit", {}).get("id", "")
        if view and not self.server.is_open(view):
            self.no_view()
        elif "workloads" in body.get("aggs", {}):
            self._list(body["aggs"]["workloads"]["composite"])
        elif body["size"] == 0:
            self._count(body)
        else:
            fault = self.server.next_fault()
            if fault is None or not fault(self):
                self.page(self.numbers(body), view, slim="_source" in body)

    def _list(self, composite: dict[str, Any]) -> None:
        begin = int(composite["after"]["workload"][1:]) + 1 if "after" in composite else 0
        numbers = range(begin, min(begin + composite["size"], self.server.workloads))
        buckets: list[dict[str, Any]] = [
            {
                "key": {"workload": f"w{number:06}", "client": "acme"},
                "doc_count": number + 1,
                "first": {"value": BEGIN * 1000},
                "last": {"value": BEGIN * 1000},
                "newest": {"hits": {"hits": []}},
            }
            for number in numbers
        ]
        found = {"buckets": buckets, **({"after_key": buckets[-1]["key"]} if buckets else {})}
        answer = {"timed_out": False, "_shards": {"failed": 0}, "aggregations": {"workloads": found}}
        self.answer(json.dumps(answer).encode())

    def _count(self, body: dict[str, Any]) -> None:
        known = {"nameless": 0, "in_1970": 0, **self.server.counts}
        counts = {name: {"doc_count": known.get(name, self.server.records)} for name in body.get("aggs", {})}
        total = {"value": self.server.records, "relation": "eq"}
        self.answer(
            json.dumps(
                {
                    "timed_out": False,
                    "_shards": {"failed": 0},
                    "hits": {"total": total, "hits": []},
                    "aggregations": counts,
                }
            ).encode()
        )

    def numbers(self, body: dict[str, Any]) -> Sequence[int]:
        """The records of the page that is asked for."""
        clauses = list(_clauses(body["query"]))
        if {"must_not": [{"exists": {"field": "timestamp"}}]} in clauses:
            return []
        named = [clause["ids"]["values"] for clause in clauses if "ids" in clause]
        size, after = body["size"], body.get("search_after")
        if named:
            found = sorted(int(name[1:]) for name in named[0])
            return [n for n in found if after is None or n > after[-1]][:size]
        descending = body["sort"][0].get("timestamp", {}).get("order") == "desc"
        part = body.get("slice", {"id": 0, "max": 1})
        first, last = 0, self.server.records - 1
        for clause in clauses:
            bounds = clause.get("range", {}).get("timestamp", {})
            first = max(first, bounds.get("gte", 0) // 1000 - BEGIN)
            last = min(last, bounds.get("lte", 1 << 62) // 1000 - BEGIN)
        if after is not None:
            position = after[0] // 1000 - BEGIN
            first, last = (first, position - 1) if descending else (position + 1, last)
        first += (part["id"] - first) % part["max"]
        every = range(first, last + 1, part["max"])
        return (every[::-1] if descending else every)[:size]

    def page(self, numbers: Sequence[int], view: str, *, slim: bool = False, failed: int = 0) -> None:
        hits = self.server.hits(numbers, slim=slim)
        name = b'"_scroll_id"' if "scroll" in self.path else b'"pit_id"'
        head = b'{%b:"%b","took":1,"timed_out":false,"_shards":{"total":1,"failed":%d},' % (
            name,
            view.encode(),
            failed,
        )
        self.answer(b"".join((head, b'"hits":{"max_score":null,"hits":[', hits, b"]}}")))

    def _scroll(self, begin: int, size: int) -> None:
        end = min(begin + size, self.server.records)
        self.page(range(begin, end), f"{end}-{size}")

    def no_view(self) -> None:
        cause = {"type": "search_context_missing_exception", "reason": "No search context found for id [7]"}
        error = {
            "type": "search_phase_execution_exception",
            "reason": "all shards failed",
            "root_cause": [cause],
        }
        self.answer(json.dumps({"error": error, "status": 404}).encode(), 404)

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/vnd.elasticsearch+json;compatible-with=8")
        self.send_header("x-elastic-product", "Elasticsearch")
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


def _clauses(query: Any) -> Iterator[dict[str, Any]]:
    if isinstance(query, dict):
        yield query
        for inner in query.values():
            yield from _clauses(inner)
    elif isinstance(query, list):
        for inner in query:
            yield from _clauses(inner)


def payloads_of(number: int, size: int) -> list[tuple[bytes, bytes]]:
    """Payload pairs of `size` bytes together, all different."""
    pairs = []
    for i in range(number):
        text = f"Where is my order {i}? " + f"It is number {i * 7919 % 1_000_003}. " * (size // 26)
        request = {"model": "large", "messages": [{"role": "user", "content": text[: size - 400]}]}
        message = {"role": "assistant", "content": f"It left on day {i % 31}."}
        response = {"id": f"c{i}", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        pairs.append((json.dumps(request).encode(), json.dumps(response).encode()))
    return pairs


def payloads_in(line: bytes) -> tuple[bytes, bytes]:
    """The payloads of a logged call."""
    logged = json.loads(line)
    return json.dumps(logged["request"]).encode(), json.dumps(logged["response"]).encode()


@contextmanager
def elasticsearch_stub(
    records: int, size: int = 600, tls: ssl.SSLContext | None = None
) -> Iterator[ElasticsearchStub]:
    """A stub in a thread of this process."""
    stub = ElasticsearchStub(records, payloads_of(50, size))
    if tls is not None:
        stub.socket = tls.wrap_socket(stub.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.shutdown()
        stub.server_close()
        thread.join(timeout=60)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--log", required=True, help="JSON lines whose payloads are served in turn")
    arguments = parser.parse_args()
    with (
        open(arguments.log, "rb") as log,
        ElasticsearchStub(arguments.records, [payloads_in(line) for line in log]) as stub,
    ):
        if arguments.records <= MOST_READY:
            stub.get_ready()
        print(stub.url, flush=True)
        stub.serve_forever()
