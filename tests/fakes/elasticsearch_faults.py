"""How the stub of Elasticsearch misbehaves: each takes the place of one answer to a search for records."""

from __future__ import annotations

import json
import socket
import struct
import time

from tests.fakes.elasticsearch_stub import Fault, Handler


def reset(handler: Handler) -> bool:
    """The connection breaks in the middle of a page."""
    handler.send_response(200)
    handler.send_header("content-type", "application/json")
    handler.send_header("x-elastic-product", "Elasticsearch")
    handler.send_header("content-length", "100000")
    handler.end_headers()
    handler.wfile.write(b'{"hits":{"hits":[{"_index":"a","_id"')
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
    return True


def status(code: int, **headers: str) -> Fault:
    """An error with this status: 429 with its hint when to come back, 503, ..."""

    def fail(handler: Handler) -> bool:
        error = {"type": "es_rejected_execution_exception", "reason": "too busy"}
        handler.answer(json.dumps({"error": error, "status": code}).encode(), code, **headers)
        return True

    return fail


def lost_view(handler: Handler) -> bool:
    """The point in time is gone for everybody."""
    handler.server.lose_view()
    handler.no_view()
    return True


def failed_shard(handler: Handler) -> bool:
    """A page without the records of a shard that failed, said in small print."""
    handler.page([], "", failed=1)
    return True


def fewer(handler: Handler) -> bool:
    """An empty page, as if the log ended here: what no honest server does."""
    handler.page([], "")
    return True


def slow(seconds: float) -> Fault:
    """A shard that takes its time; then the page."""

    def wait(handler: Handler) -> bool:
        time.sleep(seconds)
        return False

    return wait
