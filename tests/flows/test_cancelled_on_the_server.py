"""A run of the command has no worker; cancelled on the Prefect server it stops all the same, and says so there."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from blocks.connections import open_run_store
from flows.run_flywheel import run_flywheel
from flywheel.cli.cancelling import cancelled_together
from flywheel.config import FlywheelConfig
from tests.fakes.gpu_platform import GpuPlatformServer
from tests.flows.test_run_flywheel import pytestmark as pytestmark


async def flow_run_of(run_id: str) -> FlowRun:
    async with get_client() as client:
        found = await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["flywheel"])), limit=200
        )
    (ours,) = [flow_run for flow_run in found if flow_run.parameters.get("run_id") == run_id]
    return ours


@pytest.mark.parametrize("where", ["on the server", "here"])
async def test_a_run_that_is_cancelled_stops_frees_what_it_holds_and_is_cancelled_on_the_server_too(
    where: str, config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    run_id = f"cancelled {where}"
    config = config.model_copy(update={"candidates": config.candidates[:1]})
    submitted = asyncio.Event()
    loop = asyncio.get_running_loop()
    gpu_platform.on_event = lambda kind, name: (
        loop.call_soon_threadsafe(submitted.set) if kind == "submitted" else None
    )
    gpu_platform.misbehave.train_seconds = 3600

    async def command() -> None:
        async with cancelled_together(run_id, look_every=0.2):
            await run_flywheel(config, run_id=run_id, return_state=True)

    running = asyncio.create_task(command())
    await asyncio.wait_for(submitted.wait(), 300)
    if where == "here":
        running.cancel()
    else:
        async with get_client() as client:
            await client.set_flow_run_state((await flow_run_of(run_id)).id, Cancelling())
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 240)

    assert gpu_platform.deployments == {}
    assert [job["state"] for job in gpu_platform.jobs.values() if job["state"] == "running"] == []
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        assert (runs.load_run(run_id).status, runs.allocated()) == ("cancelled", [])
    assert (await flow_run_of(run_id)).state_name == "Cancelled"
