"""`flywheel curate` on real files, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import io
import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.cli.main import main
from flywheel.sample import ROUTER_WORKLOAD, WEB_CLIENT


@dataclass
class Ended:
    """What is left of a command that ran in this process."""

    returncode: int
    stdout: str
    stderr: str


def words(logs: Path, out: Path, *options: str, workload: str, client: str) -> list[str]:
    where = ["--logs", str(logs), "--out", str(out), "--workload", workload, "--client", client]
    return ["curate", *where, *options]


def curate(
    logs: Path, out: Path, *options: str, workload: str = ROUTER_WORKLOAD, client: str = WEB_CLIENT
) -> Ended:
    said, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
        code = main(words(logs, out, *options, workload=workload, client=client))
    return Ended(code, said.getvalue(), errors.getvalue())


def curate_apart(
    logs: Path,
    out: Path,
    *options: str,
    workload: str = ROUTER_WORKLOAD,
    client: str = WEB_CLIENT,
    **process: Any,
) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own: with hashes of another salt, and nothing there that tests imported."""
    command = [sys.executable, "-m", "flywheel.cli.main"]
    command += words(logs, out, *options, workload=workload, client=client)
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **process)


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def record(number: int, question: str, **changes: Any) -> dict[str, Any]:
    """A logged call with a plain answer."""
    return {
        "id": f"r{number:04}",
        "timestamp": 1_700_000_000 + number,
        "workload_id": "w",
        "client_id": "c",
        "request": {"model": "m", "messages": [{"role": "user", "content": question}]},
        "response": {
            "choices": [{"message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}]
        },
    } | changes


def many_records(count: int, **changes: Any) -> list[dict[str, Any]]:
    pick = random.Random(3)
    words = ["".join(pick.choices("abcdefghijklmnop", k=7)) for _ in range(500)]
    return [record(n, " ".join(pick.choices(words, k=15)), **changes) for n in range(count)]


def write_records(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in records), encoding="utf-8")
    return path
