"""Cleaning up while a run is going on: what nobody needs goes, the run loses nothing, and the artifact says it all."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import TaskRun
from prefect.states import Running

from blocks.connections import open_dataset_store, open_run_store
from blocks.ports import LedgerEntry
from blocks.run_evidence import evidence_of
from flows.cleanup import cleanup
from flows.run_flywheel import run_flywheel
from flywheel.config import FlywheelConfig
from flywheel.results import RunResult
from tasks.cleaning.freed import Freed
from tasks.run_owner import OWNER, mark_crashed
from tasks.runs import keep_curation
from tests.fakes.gpu_platform import GpuPlatformServer

pytestmark = pytest.mark.slow
LONG_AGO = (datetime.now(UTC) - timedelta(hours=3)).isoformat()


async def cleaned(config: FlywheelConfig, **how: Any) -> list[Freed]:
    """By the flow, with no regard to the age of datasets."""
    state = await cleanup(config.connections, datasets_older_than_days=0, return_state=True, **how)
    found: list[Freed] = await state.aresult()
    return found


async def kinds(config: FlywheelConfig) -> dict[str, int]:
    """How many datasets of each kind there are."""
    store = await open_dataset_store(config.connections)
    names = [dataset.kind for dataset in store.published()]
    return {kind: names.count(kind) for kind in sorted(set(names))}


async def test_a_cleanup_beside_a_run_takes_what_is_left_of_others_and_nothing_that_the_run_needs(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    config = config.model_copy(update={"candidates": config.candidates[:1]})
    await run_flywheel(config, run_id="pruned")
    before = await kinds(config)
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        assert runs.remove_run("pruned")
        # A second run finds the datasets of the first, which nobody names any more, and is then in mid-training.
        submitted = asyncio.Event()
        loop = asyncio.get_running_loop()
        gpu_platform.on_event = lambda kind, name: (
            loop.call_soon_threadsafe(submitted.set) if kind == "submitted" else None
        )
        gpu_platform.misbehave.train_seconds = 3600
        going_on = asyncio.create_task(run_flywheel(config, run_id="living", return_state=True))
        await asyncio.wait_for(submitted.wait(), 300)
        runs.save_run(RunResult("dead-run", "w", "c", "failed", LONG_AGO))
        runs.record_resource(
            LedgerEntry("dead-run", "deployment", "fw-dead-a-1", config.connections.platform, LONG_AGO)
        )

        told = await cleaned(config, dry_run=True)
        done = await cleaned(config)
        for job in gpu_platform.jobs.values():
            job["ends"] = 0
        state = await asyncio.wait_for(going_on, 300)
        living = runs.load_run("living")

        assert state.name == "Completed"
        assert evidence_of(living, await open_dataset_store(config.connections)).missing == []
        assert {(found.kind, found.name) for found in told} == {(found.kind, found.name) for found in done}
        assert ("deployment", "fw-dead-a-1", "freed") in {(f.kind, f.name, f.done) for f in done}
        gone = [found.name.rpartition("-")[0] for found in done if found.kind == "dataset"]
        assert {"history", "memory", "predictions"} <= set(gone)
        assert not {"validated", "split", "checked", "datasets", "icl"} & set(gone)
        assert [entry.kind for entry in runs.allocated()] == []
    assert await kinds(config) == before  # the run made again what went, and no more

    artifact = await Artifact.aget("cleanup")
    assert artifact is not None
    rows = json.loads(str(artifact.data))
    assert {(row["what"], row["name"], row["done"]) for row in rows} == {
        (found.kind, found.name, found.done) for found in done
    }
    assert all("nothing refers to it" in row["why"] for row in rows if row["what"] == "dataset")

    assert await cleaned(config) == []
    artifact = await Artifact.aget("cleanup")
    assert artifact is not None
    assert "Nothing was left behind." in str(artifact.data)


async def test_on_the_server_a_flow_run_whose_process_is_gone_does_not_run_for_ever(prefect_api: str) -> None:
    """Nor what it called; one that was started again since goes on."""
    async with get_client() as client:

        async def running(parent: TaskRun | None = None) -> UUID:
            made = await client.create_flow_run(
                run_flywheel, state=Running(), parent_task_run_id=parent.id if parent else None
            )
            return made.id

        async def states(*flow_runs: UUID) -> list[str]:
            return [str((await client.read_flow_run(each)).state_name) for each in flow_runs]

        def owner(flow_run: UUID, at: datetime) -> LedgerEntry:
            return LedgerEntry("r", OWNER, "r", "local", at.isoformat(), {"flow_run": str(flow_run)})

        lost = await running()
        call = await client.create_task_run(keep_curation, lost, dynamic_key="0", state=Running())
        called = await running(call)

        await mark_crashed(owner(lost, datetime.now(UTC) - timedelta(minutes=1)))
        assert await states(lost, called) == ["Running", "Running"]
        await mark_crashed(owner(lost, datetime.now(UTC)))
        assert await states(lost, called) == ["Crashed", "Crashed"]
        await mark_crashed(owner(lost, datetime.now(UTC)))
        await mark_crashed(owner(uuid4(), datetime.now(UTC)))
