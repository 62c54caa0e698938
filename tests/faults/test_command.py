"""`flywheel run` with the Prefect server that it starts itself: however it ends, nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blocks.history.sqlite_run_store import SqliteRunStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    # Prefect's clients of tests before these leave their sockets to the garbage collector.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
    ),
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
]


def start(home: Path, log: Path) -> subprocess.Popen[str]:
    words = [
        *("run", "--logs", str(log), "--workload", "support-router", "--client", "acme-web"),
        *("--limit", "120", "--eval-size", "12", "--min-total-records", "20"),
        *("--set", "candidates=[{name: absent, model: /no/such/model}]"),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return subprocess.Popen(
        [sys.executable, "-m", "flywheel.cli.main", *words],
        env={**environment, "FLYWHEEL_HOME": str(home), "PREFECT_HOME": str(home.parent / "prefect")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_of(home: Path) -> list[str]:
    """Command lines of living processes that were started for this home: servers too."""
    mark = f"FLYWHEEL_HOME={home}".encode()
    left = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                left.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it ended meanwhile, or is not ours to look at
            continue
    return left


def test_a_run_that_fails_leaves_no_server_no_port_and_no_traceback(sample_log: Path, tmp_path: Path) -> None:
    process = start(tmp_path / "home", sample_log)
    _, err = process.communicate(timeout=200)

    assert process.returncode == 4, err
    assert "Traceback" not in err
    assert left_of(tmp_path / "home") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_run_that_is_told_to_stop_leaves_no_server_and_a_run_that_says_cancelled(
    number: signal.Signals, sample_log: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    process = start(home, sample_log)
    deadline = time.monotonic() + 150
    while not list(home.glob("datasets/extracted*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "--resume" in err
    assert left_of(home) == []
    (run,) = SqliteRunStore(home / "runs.sqlite").list_runs()
    assert run.status == "cancelled"
