"""Loading a log file into Elasticsearch, ours beside `elasticsearch.helpers.parallel_bulk`, in turns, in one run.

    python -m benchmarks.ingest [--records 50000] [--rounds 3]

The server is a stub in a process of its own that takes bulk requests and says that each document was created, so that
only the client is measured. Both read the same JSONL file, make an id from each record, and send with the same batches
and threads. `parallel_bulk` is measured as its documentation shows it (a dict for each record) and in a leaner way that
hands it ready bytes; neither of the two looks at the records, writes down what is refused, or puts times right.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.generate_log import write_log
from blocks.elasticsearch.loading import load_files
from blocks.elasticsearch.settings import ElasticsearchSettings
from flywheel.progress import silent

INDEX = "log-store-benchmark"
BATCH = {"thread_count": 4, "chunk_size": 1_000, "max_chunk_bytes": 5_000_000}
FULL = (
    b'{"create":{"_index":"%s","_id":"0123456789abcdef0123456789abcdef","_version":1,"result":"created","_shards":'
    b'{"total":2,"successful":1,"failed":0},"_seq_no":123456,"_primary_term":1,"status":201}}'
    % INDEX.encode()
)
SHORT = b'{"create":{"status":201}}'


class _Stub(asyncio.Protocol):
    """As much of Elasticsearch as a client that loads wants to see."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received: list[bytes] = []
        self._missing = 0
        self._head = b""

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            self._head, _, data = data.partition(b"\r\n\r\n")
            length = self._head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            self._missing = int(length or 0)
            self._received = []
        self._received.append(data)
        self._missing -= len(data)
        if self._missing <= 0:
            self._missing = 0
            self._answer(b"".join(self._received))

    def _answer(self, body: bytes) -> None:
        line = self._head.split(b"\r\n", 1)[0]
        answer = b"{}"
        if b"_bulk" in line:
            items = [SHORT if b"filter_path" in line else FULL] * (body.count(b"\n") // 2)
            answer = b'{"errors":false,"took":1,"items":[%s]}' % b",".join(items)
        status = b"404 Not Found" if line.startswith(b"HEAD") else b"200 OK"
        if line.startswith(b"HEAD"):
            answer = b""
        self._transport.write(
            b"HTTP/1.1 %s\r\nX-Elastic-Product: Elasticsearch\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (status, len(answer), answer)
        )


def serve(port: Connection) -> None:
    """Run the stub until the process is ended; its port number goes into the pipe."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Stub, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def ours(log: Path, url: str, folder: Path) -> int:
    """`flywheel ingest`, without the command around it."""
    settings = ElasticsearchSettings(hosts=(url,), index=INDEX)
    return load_files([log], settings, INDEX, folder / "rejected.jsonl", silent).total().created


def parallel_bulk_of_dicts(log: Path, url: str, folder: Path) -> int:
    """The helper as documented."""

    def actions() -> Iterator[dict[str, Any]]:
        with log.open("rb") as file:
            for line in file:
                name = hashlib.sha256(line).hexdigest()[:32]
                yield {"_op_type": "create", "_index": INDEX, "_id": name, "_source": json.loads(line)}

    return _helped(url, actions())


def parallel_bulk_of_bytes(log: Path, url: str, folder: Path) -> int:
    """The helper handed ready bytes."""

    def lines() -> Iterator[Any]:
        with log.open("rb") as file:
            yield from file

    def expand(line: Any) -> tuple[dict[str, Any], bytes]:
        name = hashlib.sha256(line).hexdigest()[:32]
        return {"create": {"_index": INDEX, "_id": name}}, line.rstrip(b"\n")

    return _helped(url, lines(), expand_action_callback=expand)


def _helped(url: str, actions: Iterator[Any], **options: Any) -> int:
    from elasticsearch import Elasticsearch
    from elasticsearch.helpers import parallel_bulk

    with Elasticsearch(url) as client:
        return sum(ok for ok, _ in parallel_bulk(client, actions, **BATCH, **options))


WAYS: dict[str, Callable[[Path, str, Path], int]] = {
    "flywheel ingest": ours,
    "parallel_bulk, dicts": parallel_bulk_of_dicts,
    "parallel_bulk, bytes": parallel_bulk_of_bytes,
}


def main() -> None:
    """Print records a second of each way, best of the rounds, and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    receiver, sender = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(sender,), daemon=True)
    server.start()
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    try:
        url = f"http://127.0.0.1:{receiver.recv()}"
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log.jsonl"
            write_log(log, arguments.records)
            for _ in range(arguments.rounds):
                for name, way in WAYS.items():
                    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
                    loaded = way(log, url, Path(folder))
                    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
                    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                    if loaded != arguments.records:
                        raise SystemExit(f"{name} loaded {loaded} of {arguments.records} records")
                    rounds[name].append((wall, cpu))
    finally:
        server.terminate()
        server.join()
    best = {name: min(results) for name, results in rounds.items()}
    for name, (wall, cpu) in best.items():
        ratio = statistics.median(
            other / own for (own, _), (other, _) in zip(rounds["flywheel ingest"], rounds[name], strict=True)
        )
        print(
            f"{name:22} {arguments.records / wall:8.0f} records/s, {wall:6.2f} s, {cpu:6.2f} s CPU; "
            f"takes {ratio:.2f} times as long as ours (median of {arguments.rounds} rounds)"
        )


if __name__ == "__main__":
    main()
