"""Things that are away for a while, runs at the same time, and a disk that is full."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from blocks.connections import open_run_store
from blocks.mongo.block import MongoRuns
from flywheel.config import FlywheelConfig
from flywheel.results import RunResult
from tests.conftest import fresh
from tests.fakes.gpu_platform import GpuPlatformServer
from tests.fakes.mongo_server import mongo_server
from tests.fakes.tcp_proxy import TcpProxy
from tests.faults.conftest import Runner, what_was_found
from tests.prefect_homes import RestartableServer

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]


def stored(config: FlywheelConfig, run_id: str) -> RunResult:
    with contextlib.closing(asyncio.run(open_run_store(config.connections))) as runs:
        assert runs.allocated() == []
        return runs.load_run(run_id)


def test_two_runs_of_the_same_settings_at_once_share_datasets_and_nothing_else(
    config: FlywheelConfig, runner: Runner, gpu_platform: GpuPlatformServer
) -> None:
    pids = [runner.start(config, run_id) for run_id in ("one", "two")]
    assert [runner.wait(pid) for pid in pids] == [0, 0], runner.tail()

    one, two = stored(config, "one"), stored(config, "two")
    found = [what_was_found(run) for run in (one, two)]
    for kind in ("status", "candidates", "datasets", "eval set"):  # the funnel says who was first to remember
        assert found[0][kind] == found[1][kind]
    assert one.datasets["datasets"] == two.datasets["datasets"]
    assert len(gpu_platform.happened("submitted")) == 2
    assert len(set(gpu_platform.happened("deployed"))) == 2
    assert gpu_platform.deployments == {}


def test_a_run_that_is_being_worked_on_is_not_resumed_by_another_process(
    config: FlywheelConfig, runner: Runner, gpu_platform: GpuPlatformServer
) -> None:
    gpu_platform.misbehave.train_seconds = 3600
    first = runner.start(config, "run")
    deadline = time.monotonic() + 300
    while not gpu_platform.happened("submitted") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert runner.run(config, "run") != 0
    assert "is being worked on by process" in runner.tail()
    for job in gpu_platform.jobs.values():
        job["ends"] = 0
    assert runner.wait(first) == 0, runner.tail()
    assert len(gpu_platform.happened("submitted")) == 1


def test_a_platform_that_answers_502_for_a_while_delays_a_run_and_no_more(
    config: FlywheelConfig, runner: Runner, gpu_platform: GpuPlatformServer
) -> None:
    gpu_platform.misbehave.lost_deploy_answers = 3  # at the waits between tries: 2 + 8 + 30 seconds
    assert runner.run(config, "run") == 0, runner.tail()

    assert stored(config, "run").status == "completed"
    assert len(gpu_platform.happened("deployed")) == 1
    assert gpu_platform.deployments == {}


def test_a_disk_that_is_full_ends_in_a_clear_state_that_a_rerun_completes(
    config: FlywheelConfig, runner: Runner, gpu_platform: GpuPlatformServer
) -> None:
    code = runner.run(config, "run", largest_file=140_000)  # bytes: the training rows do not fit

    assert code not in (0, None)
    assert "File too large" in runner.tail() or "disk" in runner.tail().lower()
    assert gpu_platform.events == []
    assert runner.run(config, "run") == 0, runner.tail()
    assert stored(config, "run").status == "completed"
    assert not list(Path(config.connections.home).rglob("*.partial"))


def test_a_run_outlives_a_prefect_server_that_is_killed_and_a_database_that_is_away_while_it_trains(
    config: FlywheelConfig, platform_server: GpuPlatformServer, tmp_path: Path
) -> None:
    prefect = RestartableServer(tmp_path / "prefect")
    with mongo_server(tmp_path / "mongodb") as mongo:
        database = urlsplit(mongo.uri)
        before_mongo = TcpProxy((str(database.hostname), int(database.port or 0)))
        runner = Runner(
            tmp_path / "stderr.log",
            {"PREFECT_API_URL": prefect.url, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "600"},
        )
        try:
            prefect.start()
            with temporary_settings({PREFECT_API_URL: prefect.url}):
                fresh(platform_server)
                MongoRuns(url=SecretStr(f"mongodb://127.0.0.1:{before_mongo.port}"), database="history").save(
                    "away", overwrite=True
                )
                platform_server.misbehave.train_seconds = 3600
                connections = config.connections.model_copy(
                    update={"run_store": "flywheel-mongodb-runs/away"}
                )
                away = config.model_copy(update={"connections": connections})
                pid = runner.start(away, "run")
                deadline = time.monotonic() + 300
                while not platform_server.happened("submitted") and time.monotonic() < deadline:
                    time.sleep(0.1)
                prefect.kill()
                before_mongo.down()
                for job in platform_server.jobs.values():
                    job["ends"] = 0
                away_until = time.monotonic() + 30
                time.sleep(10)  # and as long as it starts: Prefect's client gives up after a minute
                prefect.start()
                time.sleep(max(0.0, away_until - time.monotonic()))  # our patience with a database
                before_mongo.up()
                assert runner.wait(pid) == 0, runner.tail()
                assert stored(away, "run").status == "completed"
        finally:
            runner.close()
            before_mongo.close()
            prefect.kill()
    assert platform_server.deployments == {}
    assert len(platform_server.happened("submitted")) == 1
