"""kill -9 at the boundaries of steps and at random moments; started again, the run ends as if nothing had been.

FLYWHEEL_TEST_KILLS=all kills at every boundary there is, and a number sets how many random attempts there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.connections import open_run_store
from blocks.mongo.block import MongoRuns
from blocks.nemo.block import NemoMicroservices
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.results import RunResult
from tests.fakes.gpu_platform import GpuPlatformServer
from tests.fakes.mongo_server import mongo_server
from tests.fakes.nemo_server import NemoServer
from tests.faults.conftest import ITEMS, Runner, what_was_found

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

KILLS = os.environ.get("FLYWHEEL_TEST_KILLS", "2")
RANDOM_SEEDS = int(KILLS) if KILLS.isdigit() else 10
CONCURRENCY = 4
CONSEQUENT = (
    "begin run:done",
    "extract support-router:done",
    "keep curation:done",
    "icl dataset alpha:done",
    "deploy alpha:begun",
    "deploy alpha:done",
    "fine-tune alpha:begun",
    "fine-tune alpha:done",
    "serve adapter alpha:done",
    "base-eval alpha:done",
    "customized-eval alpha:done",
    "shut down alpha:begun",
    "shut down alpha:done",
    "keep alpha:done",
    "end run:done",
)
"""Where something that costs or counts was just done, or is about to be."""


def stored(config: FlywheelConfig, run_id: str) -> RunResult:
    with contextlib.closing(asyncio.run(open_run_store(config.connections))) as runs:
        assert runs.allocated() == []
        return runs.load_run(run_id)


def elsewhere(config: FlywheelConfig, home: Path) -> FlywheelConfig:
    connections = config.connections.model_copy(update={"home": str(home)})
    return config.model_copy(update={"connections": connections})


def test_killed_at_the_boundaries_of_its_steps_a_run_ends_as_if_undisturbed(
    config: FlywheelConfig, runner: Runner, gpu_platform: GpuPlatformServer, tmp_path: Path
) -> None:
    record = tmp_path / "boundaries.txt"
    assert runner.run(config, "undisturbed", record=record) == 0, runner.tail()
    expected, answers = what_was_found(stored(config, "undisturbed")), gpu_platform.asked
    passed = list(dict.fromkeys(record.read_text().split("\n")[:-1]))
    assert set(CONSEQUENT) <= set(passed), passed
    gpu_platform.forget()

    other = elsewhere(config, tmp_path / "other")
    boundaries = [boundary for boundary in passed if KILLS == "all" or boundary in CONSEQUENT]
    for boundary in boundaries:
        assert runner.run(other, "disturbed", stop_at=boundary) == -signal.SIGKILL, (boundary, runner.tail())
    assert runner.run(other, "disturbed") == 0, runner.tail()

    assert what_was_found(stored(other, "disturbed")) == expected
    assert len(gpu_platform.happened("submitted")) == 1
    assert gpu_platform.deployments == {}
    # What was under way when the process died is asked again; what was answered is not.
    assert answers == 3 * ITEMS
    assert gpu_platform.asked <= answers + CONCURRENCY * 3 * 6


@pytest.mark.parametrize("seed", range(RANDOM_SEEDS))
def test_killed_at_random_moments_a_run_goes_on(
    seed: int, config: FlywheelConfig, runner: Runner, gpu_platform: GpuPlatformServer
) -> None:
    gpu_platform.misbehave.answer_seconds = 0.05
    gpu_platform.misbehave.train_seconds = 1.0
    draw = random.Random(seed)
    kills = 0
    for _ in range(3):
        pid = runner.start(config, "run")
        time.sleep(draw.uniform(0.5, 6.0))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        kills += runner.wait(pid) == -signal.SIGKILL
    assert runner.run(config, "run") == 0, runner.tail()

    assert stored(config, "run").status == "completed"
    assert len(gpu_platform.happened("submitted")) == 1
    assert gpu_platform.deployments == {}
    assert gpu_platform.asked <= 3 * ITEMS + 3 * CONCURRENCY * kills


@pytest.fixture
def on_nemo(
    config: FlywheelConfig, oracle: dict[str, dict[str, object]], tmp_path: Path
) -> Iterator[tuple[FlywheelConfig, NemoServer]]:
    """The same run on NeMo's API, its history in MongoDB."""
    with mongo_server(tmp_path / "mongodb") as mongo, NemoServer(oracle) as nemo:
        nemo.customizer.add_target("meta/small")
        NemoMicroservices(
            nemo_base_url=nemo.urls["nemo"],
            nim_base_url=nemo.urls["nim"],
            datastore_base_url=nemo.urls["datastore"],
            poll_seconds=0.02,
            first_retry_seconds=0.01,
            stall_seconds=120,
        ).save("faults", overwrite=True)
        MongoRuns(url=SecretStr(mongo.uri), database="history").save("faults", overwrite=True)
        connections = config.connections.model_copy(
            update={
                "platform": "flywheel-nemo-microservices/faults",
                "run_store": "flywheel-mongodb-runs/faults",
            }
        )
        candidates = [CandidateConfig(name="alpha", model="meta/small")]
        yield config.model_copy(update={"connections": connections, "candidates": candidates}), nemo


def test_on_nemo_with_history_in_mongodb_a_killed_run_trains_once_and_leaves_nothing(
    on_nemo: tuple[FlywheelConfig, NemoServer], runner: Runner
) -> None:
    config, nemo = on_nemo
    boundaries = [
        "deploy alpha:done",
        "fine-tune alpha:begun",
        "fine-tune alpha:done",
        "shut down alpha:begun",
    ]
    for boundary in boundaries:
        assert runner.run(config, "disturbed", stop_at=boundary) == -signal.SIGKILL, (boundary, runner.tail())
    assert runner.run(config, "disturbed") == 0, runner.tail()

    run = stored(config, "disturbed")
    assert run.status == "completed"
    assert [e.error for e in run.candidates[0].evaluations] == [None, None, None]
    assert len(nemo.happened("submitted")) == 1
    assert nemo.deployments.look() == {}
    assert nemo.entities.datasets == {}
