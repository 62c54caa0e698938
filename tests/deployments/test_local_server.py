"""`make server`: everything is up, a run of the form is done, and Ctrl-C takes everything down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flywheel.cli.prefect_server import free_port
from tests.deployments.conftest import Receiver
from tests.deployments.operating import (
    QUICKLY,
    ROOT,
    PrefectServer,
    history,
    nemo_variables,
    run_settings,
    until,
    working_on,
)
from tests.fakes.nemo_server import NemoServer
from tests.prefect_homes import prefect_home, without_prefect
from tests.processes import left_with

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]
STOP_SECONDS = 300


@dataclass
class Local:
    """A running `make server`, all of whose processes have this home."""

    process: subprocess.Popen[str]
    url: str
    home: Path


@pytest.fixture(scope="module")
def nemo(oracle: dict[str, dict[str, object]]) -> Iterator[NemoServer]:
    with NemoServer(oracle) as server:
        server.customizer.add_target("meta/small")
        server.misbehave.stalled_jobs = {"endless"}
        yield server


@pytest.fixture(scope="module")
def local(nemo: NemoServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    home, port = tmp_path_factory.mktemp("home"), free_port()
    prefect_home(home / ".prefect")
    environment = without_prefect() | QUICKLY | nemo_variables(nemo)
    environment |= {"HOME": str(home), "FLYWHEEL_SERVER_PORT": str(port), "FLYWHEEL_GPU_SLOTS": "2"}
    said = home / "said.txt"
    with said.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "deployments.local_server"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            text=True,
        )
    try:
        until(lambda: "Ready:" in said.read_text() or process.poll() is not None, 600, said.read_text)
        assert process.poll() is None, said.read_text()
        yield Local(process, f"http://127.0.0.1:{port}", home)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_SECONDS)


@pytest.fixture(scope="module")
def prefect(local: Local) -> Iterator[PrefectServer]:
    with PrefectServer(f"{local.url}/api") as server:
        yield server


def test_server_worker_and_deployments_are_up_and_a_run_of_the_form_is_done(
    local: Local, prefect: PrefectServer
) -> None:
    with urllib.request.urlopen(local.url, timeout=120) as page:
        assert b"<html" in page.read()
    state = prefect.ended(prefect.start("cleanup/cleanup", {"dry_run": True}), 300)
    assert state["type"] == "COMPLETED"
    assert state["message"] == "Nothing was left behind."


def test_ctrl_c_cancels_what_is_running_and_leaves_no_process(
    local: Local, prefect: PrefectServer, nemo: NemoServer, sample_log: Path
) -> None:
    settings = run_settings(sample_log, local.home, "endless")
    flow_run = prefect.start("flywheel/any-workload", {"config": settings})
    until(lambda: nemo.happened("submitted"), 300)

    local.process.send_signal(signal.SIGINT)
    assert local.process.wait(STOP_SECONDS) == 0
    assert "Everything is down." in (local.home / "said.txt").read_text()
    assert left_with("HOME", str(local.home)) == {}
    assert working_on(nemo, "endless") == []
    assert history(local.home, flow_run) == ("cancelled", [])


def test_a_port_that_somebody_listens_on_is_left_alone(receiver: Receiver, tmp_path: Path) -> None:
    port = receiver.url.split(":")[2].partition("/")[0]
    done = subprocess.run(
        [sys.executable, "-m", "deployments.local_server"],
        cwd=ROOT,
        env={**os.environ, "FLYWHEEL_SERVER_PORT": port, "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "choose another FLYWHEEL_SERVER_PORT" in done.stderr
    assert list(tmp_path.iterdir()) == []
