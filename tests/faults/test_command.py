"""`flywheel run` with the Prefect server that it starts itself: however it ends, nothing of it is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blocks.history.sqlite_run_store import SqliteRunStore
from tests.prefect_homes import prefect_home, without_prefect
from tests.processes import left_with

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]


def start(home: Path, log: Path) -> subprocess.Popen[str]:
    words = [
        *("run", "--logs", str(log), "--workload", "support-router", "--client", "acme-web"),
        *("--limit", "120", "--eval-size", "12", "--min-total-records", "20"),
        *("--set", "candidates=[{name: absent, model: /no/such/model}]"),
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "flywheel.cli.main", *words],
        env=without_prefect()
        | {"FLYWHEEL_HOME": str(home), "PREFECT_HOME": str(prefect_home(home.parent / "prefect"))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_that_fails_leaves_no_server_no_port_and_no_traceback(sample_log: Path, tmp_path: Path) -> None:
    process = start(tmp_path / "home", sample_log)
    _, err = process.communicate(timeout=300)

    assert process.returncode == 4, err
    assert "Traceback" not in err
    assert left_with("FLYWHEEL_HOME", str(tmp_path / "home")) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_run_that_is_told_to_stop_leaves_no_server_and_a_run_that_says_cancelled(
    number: signal.Signals, sample_log: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    process = start(home, sample_log)
    deadline = time.monotonic() + 300
    while not list(home.glob("datasets/extracted*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "--resume" in err
    assert left_with("FLYWHEEL_HOME", str(home)) == {}
    (run,) = SqliteRunStore(home / "runs.sqlite").list_runs()
    assert run.status == "cancelled"
