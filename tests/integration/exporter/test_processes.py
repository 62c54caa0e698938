"""Ends and forks of processes that log."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.chat_server import ChatServer

APPLICATION = """
import json, os, sys, multiprocessing, threading
import httpx
from flywheel_exporter import Exporter, JsonlFile, LoggedClient, labels

url, path = sys.argv[1:]
http = LoggedClient(Exporter(JsonlFile(path), flush_seconds=3600, client_id="acme"))

def ask(name):
    with labels(workload_id=name):
        http.post(url + "/chat/completions", json={"messages": [{"role": "user", "content": name}]}).raise_for_status()
"""

ENDINGS = {
    "falls off its end": ("ask('a')", ["a"], 0),
    "exits": ("ask('a'); sys.exit(3)", ["a"], 3),
    "raises": ("ask('a'); raise SystemError('defect')", ["a"], 1),
    "calls in a thread": ("t = threading.Thread(target=ask, args=('a',)); t.start()", ["a"], 0),
    "forks": (  # one after the other: both hold the same connection to the endpoint, which is httpx's affair
        "ask('a')\nchild = os.fork()\nif child: os.waitpid(child, 0)\nask('child' if child == 0 else 'parent')",
        ["a", "child", "parent"],
        0,
    ),
    "forks before its first call": (
        "child = os.fork()\nask('child' if child == 0 else 'parent')\nif child: os.waitpid(child, 0)",
        ["child", "parent"],
        0,
    ),
    "starts a process of multiprocessing": (
        "ask('a')\np = multiprocessing.get_context('fork').Process(target=ask, args=('b',)); p.start(); p.join()",
        ["a", "b"],
        0,
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
async def test_a_process_that_ends_has_written_each_call_once(name: str, path: Path) -> None:
    ending, expected, code = ENDINGS[name]
    async with ChatServer() as server:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", APPLICATION + ending, server.base_url, str(path)],
            capture_output=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == code, done.stderr.decode()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(record["workload_id"] for record in records) == expected


async def test_the_end_of_a_process_waits_a_bounded_time_for_a_sink_that_is_down(path: Path) -> None:
    ending = (
        "from flywheel_exporter import Elasticsearch\n"
        "http = LoggedClient(Exporter(Elasticsearch('http://127.0.0.1:9', 'x'), exit_seconds=0.5)); ask('a')"
    )
    async with ChatServer() as server:
        started = time.monotonic()
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", APPLICATION + ending, server.base_url, str(path)],
            capture_output=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    assert time.monotonic() - started < 50, (
        "it did not wait as long as a running one would, which is a minute"
    )
    assert b"not reachable" in done.stderr
