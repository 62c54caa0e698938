"""Runs on a worker that are cancelled and killed: what they held is free, and they go on where they stood.

One worker is lost at the start, together with its run. The other tests look at what becomes of that run, and use the
minute that its leases take.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from blocks.history.sqlite_run_store import SqliteRunStore
from deployments.automations import SECONDS_WITHOUT_HEARTBEAT, crash_zombies
from deployments.bootstrap import bootstrap
from tasks.run_owner import OWNER
from tasks.slots.lease import LEASE_SECONDS
from tests.deployments.operating import (
    PrefectServer,
    history,
    nemo_variables,
    run_settings,
    until,
    worker,
    working_on,
)
from tests.fakes.nemo_server import NemoServer

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]
ANY = "flywheel/any-workload"
SILENCE = 35
"""Seconds; a heartbeat comes every 30."""
MOST_SECONDS = 300
"""For whatever is waited for on a machine that does other things as well."""


@dataclass
class Lost:
    """A run whose worker and process were killed while its candidate trained."""

    flow_run: str
    home: Path
    killed_at: float
    slots: int


@pytest.fixture(scope="module")
def nemo(oracle: dict[str, dict[str, object]]) -> Iterator[NemoServer]:
    with NemoServer(oracle) as server:
        server.customizer.add_target("meta/small")
        server.misbehave.stalled_jobs = {"lost", "cancelled"}
        yield server


@pytest.fixture(scope="module")
def prefect(deployed: str, nemo: NemoServer) -> Iterator[PrefectServer]:
    """The server as the bootstrap leaves it, with NeMo's address and less patience with silent runs."""
    _set_up(deployed, nemo, SILENCE)
    with PrefectServer(deployed) as server:
        yield server


def _set_up(url: str, nemo: NemoServer, silence: int) -> None:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    async def patience() -> None:
        wanted = crash_zombies(silence)
        async with get_client() as client:
            (automation,) = await client.read_automations_by_name(wanted.name)
            await client.update_automation(automation.id, wanted)

    with temporary_settings({PREFECT_API_URL: url}):
        asyncio.run(bootstrap({**nemo_variables(nemo)}))
        asyncio.run(patience())


@pytest.fixture(scope="module")
def lost(
    deployed: str,
    prefect: PrefectServer,
    nemo: NemoServer,
    sample_log: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Lost:
    home = tmp_path_factory.mktemp("lost")
    with worker(deployed, home, home / "worker.log") as process:
        settings = run_settings(sample_log, home, "lost", training_gpus=1)
        flow_run = prefect.start(ANY, {"config": settings})
        until(lambda: nemo.happened("submitted"), 300, (home / "worker.log").read_text)
        process.kill()  # first: a worker that sees its run die says so
        os.kill(_owner(home, flow_run), signal.SIGKILL)
        return Lost(flow_run, home, time.monotonic(), prefect.gpu_slots_taken())


def _owner(home: Path, run_id: str) -> int:
    runs = SqliteRunStore(home / "runs.sqlite")
    with contextlib.closing(runs):
        (owner,) = [entry for entry in runs.allocated(run_id) if entry.kind == OWNER]
    return int(owner.details["pid"])


@pytest.fixture(scope="module")
def another_worker(
    deployed: str, lost: Lost, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[bytes]]:
    home = tmp_path_factory.mktemp("another")
    with worker(deployed, home, home / "worker.log") as process:
        yield process


@pytest.fixture(scope="module")
def crashed(deployed: str, prefect: PrefectServer, nemo: NemoServer, lost: Lost) -> dict[str, str]:
    """The lost run's state once it has ended; from then on silent runs have the usual time."""
    state = prefect.ended(lost.flow_run, SILENCE + MOST_SECONDS)
    _set_up(deployed, nemo, SECONDS_WITHOUT_HEARTBEAT)
    return state


def test_a_run_whose_process_died_is_marked_crashed_and_cleaned_up_after(
    prefect: PrefectServer,
    nemo: NemoServer,
    another_worker: subprocess.Popen[bytes],
    crashed: dict[str, str],
) -> None:
    assert crashed["type"] == "CRASHED"
    assert "No heartbeat" in crashed["message"]
    assert working_on(nemo, "lost")  # no hook of a dead process stops anything

    of_cleanup = {"deployments": {"id": {"any_": [prefect.deployment("cleanup/cleanup")["id"]]}}}
    until(lambda: prefect.post("/flow_runs/filter", of_cleanup).json(), MOST_SECONDS)
    started = prefect.post("/flow_runs/filter", of_cleanup).json()
    assert prefect.ended(started[0]["id"], MOST_SECONDS)["type"] == "COMPLETED"


def test_a_run_cancelled_on_the_server_is_cancelled_when_everything_of_it_has_stopped(
    prefect: PrefectServer,
    nemo: NemoServer,
    lost: Lost,
    crashed: dict[str, str],
    another_worker: subprocess.Popen[bytes],
    sample_log: Path,
    tmp_path: Path,
) -> None:
    taken = lost.slots
    settings = run_settings(sample_log, tmp_path, "cancelled", gpus=0, training_gpus=1)
    flow_run = prefect.start(ANY, {"config": settings})
    until(lambda: len(nemo.happened("submitted")) == 2, 300)
    assert working_on(nemo, "cancelled")

    prefect.set_state(flow_run, "CANCELLING")
    time.sleep(0.5)
    if prefect.state(flow_run)["type"] == "CANCELLING":
        prefect.set_state(flow_run, "CANCELLING")  # pressed twice
    until(lambda: history(tmp_path, flow_run) == ("cancelled", []), MOST_SECONDS)
    assert nemo.happened("cancelled")
    assert working_on(nemo, "cancelled") == []
    # Prefect's worker starts a process for hooks before it says so, which takes as long as the machine lets it.
    assert prefect.ended(flow_run, MOST_SECONDS)["type"] == "CANCELLED"
    assert prefect.gpu_slots_taken() <= taken  # the lost run's own may have come back meanwhile
    assert another_worker.poll() is None


def test_its_slots_come_back_by_their_lease(prefect: PrefectServer, lost: Lost) -> None:
    assert lost.slots == 2  # of the deployment, and of the fine-tune
    until(lambda: prefect.gpu_slots_taken() == 0, lost.killed_at + LEASE_SECONDS + 180 - time.monotonic())


def test_retried_it_is_finished_by_another_worker_and_submits_nothing_twice(
    prefect: PrefectServer,
    nemo: NemoServer,
    lost: Lost,
    another_worker: subprocess.Popen[bytes],
) -> None:
    nemo.misbehave.stalled_jobs = set()
    submitted = [name for name in nemo.happened("submitted") if "lost" in name]
    prefect.set_state(lost.flow_run, "SCHEDULED", "AwaitingRetry")
    state = prefect.ended(lost.flow_run, MOST_SECONDS)
    assert state["type"] == "COMPLETED"
    assert [name for name in nemo.happened("submitted") if "lost" in name] == submitted
    assert len(submitted) == 1
    assert working_on(nemo, "lost") == []
    assert history(lost.home, lost.flow_run) == ("completed", [])
    assert prefect.gpu_slots_taken() == 0
