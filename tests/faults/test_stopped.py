"""Stopped by Ctrl-C or a worker at its steps: remote work is told to stop and seen to, then the run is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from blocks.connections import open_run_store
from flywheel.config import FlywheelConfig
from tasks.slots.lease import GPU_LIMIT
from tests.fakes.gpu_platform import GpuPlatformServer
from tests.faults.conftest import Runner

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]


def state_of(config: FlywheelConfig, run_id: str) -> tuple[str, int]:
    """The run's state, and how many things the ledger still has."""
    with contextlib.closing(asyncio.run(open_run_store(config.connections))) as runs:
        return runs.load_run(run_id).status, len(runs.allocated())


async def taken() -> int:
    """Slots that are taken; none where no run has come to making the limit."""
    async with get_client() as client:
        try:
            return (await client.read_global_concurrency_limit_by_name(GPU_LIMIT)).active_slots
        except ObjectNotFound:
            return 0


async def forget_slots() -> None:
    """Those that killed runs of other tests hold come back by their leases, at any moment of this one."""
    async with get_client() as client:
        with contextlib.suppress(ObjectNotFound):
            await client.delete_global_concurrency_limit_by_name(GPU_LIMIT)


@pytest.mark.parametrize(
    ("step", "signals"),
    [
        ("validate:begun", [signal.SIGINT]),
        ("deploy alpha:begun", [signal.SIGINT]),
        ("fine-tune alpha:begun", [signal.SIGINT]),
        ("fine-tune alpha:begun", [signal.SIGINT] * 3),
        ("fine-tune alpha:begun", [signal.SIGTERM] * 2),
        ("shut down alpha:begun", [signal.SIGINT] * 2),
        ("keep alpha:begun", [signal.SIGINT]),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(number.name for number in value),
)
def test_a_stopped_run_leaves_nothing_running_and_goes_on_when_resumed(
    step: str,
    signals: list[signal.Signals],
    config: FlywheelConfig,
    runner: Runner,
    gpu_platform: GpuPlatformServer,
) -> None:
    gpu_platform.misbehave.train_seconds = 3600  # nobody waits for it
    asyncio.run(forget_slots())
    if step.startswith(("shut down", "keep")):
        gpu_platform.misbehave.train_seconds = 0.1
    code = runner.run(config, "run", stop_at=step, signals=signals)

    assert code == 130, runner.tail()
    assert gpu_platform.deployments == {}
    assert [job["state"] for job in gpu_platform.jobs.values() if job["state"] == "running"] == []
    assert state_of(config, "run") == ("cancelled", 0)
    assert asyncio.run(taken()) == 0

    gpu_platform.misbehave.train_seconds = 0.05
    assert runner.run(config, "run") == 0, runner.tail()
    assert state_of(config, "run") == ("completed", 0)
    assert gpu_platform.deployments == {}
