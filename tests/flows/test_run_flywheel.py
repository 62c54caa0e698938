"""Whole runs on a real Prefect server, with a platform that answers at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from blocks.connections import open_run_store
from flows.run_flywheel import all_kept, run_flywheel
from flywheel.config import CandidateConfig, DataSplitConfig, FlywheelConfig, IclConfig
from flywheel.errors import ConfigError, DataError, TooFewRecordsError
from flywheel.results import CandidateResult, RunResult
from tests.fakes.gpu_platform import GpuPlatformServer

pytestmark = pytest.mark.slow


async def run(config: FlywheelConfig, run_id: str = "run-a", **parameters: Any) -> tuple[Any, RunResult]:
    state = await run_flywheel(config, run_id=run_id, return_state=True, **parameters)
    state.data = await state.aresult(raise_on_failure=False)
    store = await open_run_store(config.connections)
    try:
        return state, store.load_run(run_id)
    finally:
        store.close()


def scores(result: RunResult, candidate: str) -> dict[str, float | None]:
    found = next(entry for entry in result.candidates if entry.candidate == candidate)
    return {e.eval_type: e.scores[e.primary].value if e.primary else None for e in found.evaluations}


async def both_in_training(platform: GpuPlatformServer) -> None:
    async with asyncio.timeout(300):
        while len(platform.happened("submitted")) < 2:
            await asyncio.sleep(0.1)


async def test_a_run_whose_candidates_all_failed_has_failed(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    gpu_platform.misbehave.failing_deployments = {"alpha", "beta"}
    state, result = await run(config)

    assert state.is_failed()
    assert result.status == "failed"


async def test_too_few_records_stop_the_run_before_any_model_is_touched(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    large = config.model_copy(update={"data_split_config": DataSplitConfig(eval_size=5000)})
    state, result = await run(large)

    assert state.is_failed()
    assert isinstance(state.data, TooFewRecordsError)
    assert "eval_size" in str(state.data)
    assert result.status == "failed"
    assert gpu_platform.events == []


async def test_an_impossible_icl_budget_makes_the_icl_eval_not_run_instead_of_a_copy_of_base(
    config: FlywheelConfig,
) -> None:
    budget = IclConfig(max_context_length=600, reserved_tokens=550)
    tight = config.model_copy(update={"icl_config": budget, "candidates": config.candidates[:1]})
    _, result = await run(tight)

    alpha = result.candidates[0]
    icl = alpha.evaluations[1]
    assert icl.eval_type == "icl-eval"
    assert icl.error
    assert icl.scores == {}
    assert alpha.status == "partial"


async def test_overrides_replace_single_settings_and_leave_the_rest(config: FlywheelConfig) -> None:
    deployed = DataSplitConfig(eval_size=30, random_seed=5, val_ratio=0.2, limit=900)  # no class default
    one = config.model_copy(update={"data_split_config": deployed, "candidates": config.candidates[:1]})
    _, result = await run(one, overrides={"data_split_config.eval_size": 20, "gpu_slots": 1})

    assert result.funnel["evaluation"] == 20
    assert result.config["gpu_slots"] == 1
    assert result.config["candidates"][0]["name"] == "alpha"
    assert result.config["data_split_config"] == deployed.model_dump() | {"eval_size": 20}


async def test_two_entries_of_one_model_are_two_candidates(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    twins = [CandidateConfig(model="small-a"), CandidateConfig(model="small-a")]
    _, result = await run(config.model_copy(update={"candidates": twins}))

    assert [c.candidate for c in result.candidates] == ["small-a", "small-a-2"]
    assert len(set(gpu_platform.happened("submitted"))) == 2


async def test_cancelling_stops_the_training_and_frees_the_deployments(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    gpu_platform.misbehave.train_seconds = 3600
    going = asyncio.create_task(run(config))
    await both_in_training(gpu_platform)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going

    assert sorted(gpu_platform.happened("cancelled")) == sorted(gpu_platform.happened("submitted"))
    assert gpu_platform.deployments == {}
    store = await open_run_store(config.connections)
    assert store.load_run("run-a").status == "cancelled"


async def test_a_resumed_run_repeats_nothing_that_was_finished(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    gpu_platform.misbehave.failing_jobs = {"beta"}
    _, before = await run(config)
    asked = gpu_platform.asked
    gpu_platform.misbehave.failing_jobs = set()
    for job in gpu_platform.jobs.values():
        job["state"] = "completed"
    _, after = await run(config)

    assert before.status == "partial"
    assert after.status == "completed"
    assert len(gpu_platform.happened("submitted")) == 2
    assert gpu_platform.asked == asked + 30  # beta's customized-eval alone
    assert after.started_at == before.started_at


async def test_a_run_resumed_under_other_settings_reports_no_result_made_under_the_old_ones(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    first = config.model_copy(update={"candidates": config.candidates[:1]})
    await run(first)
    asked = gpu_platform.asked
    _, same = await run(first, overrides={"evaluation_config.concurrency": 3})
    assert gpu_platform.asked == asked
    _, other = await run(first, overrides={"evaluation_config.temperature": 0.5})

    assert gpu_platform.asked == 2 * asked
    assert other.config["evaluation_config"]["temperature"] == 0.5
    before, after = same.candidates[0].evaluations[0], other.candidates[0].evaluations[0]
    assert "temperature" not in before.overrides
    assert after.overrides["temperature"]["sent"] == [0.5]
    assert before.predictions != after.predictions


async def test_a_run_store_that_breaks_in_mid_run_fails_the_run_and_leaves_nothing_deployed(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    gpu_platform.misbehave.train_seconds = 3600
    going = asyncio.create_task(run_flywheel(config, run_id="run-a", return_state=True))
    await both_in_training(gpu_platform)
    for path in Path(config.connections.home).glob("runs.sqlite*"):
        path.write_bytes(b"\xff" * 4096)
    for job in gpu_platform.jobs.values():
        job["ends"] = 0
    state = await going

    assert state.is_failed()
    assert len(gpu_platform.happened("deployed")) == 2
    assert gpu_platform.deployments == {}


def test_a_result_that_could_not_be_written_down_is_no_completed_run() -> None:
    kept = CandidateResult(candidate="a", model_name="x", status="completed")
    assert all_kept([kept, kept]) == [kept, kept]
    with pytest.raises(DataError, match="disk"):
        all_kept([kept, DataError("the disk is full")])
    with pytest.raises(asyncio.CancelledError):
        all_kept([DataError("the disk is full"), asyncio.CancelledError()])


async def test_a_workload_that_is_not_in_the_log_is_a_clear_error(config: FlywheelConfig) -> None:
    state, _ = await run(config.model_copy(update={"workload_id": "no-such-workload"}))

    assert state.is_failed()
    assert isinstance(state.data, DataError)
    assert "flywheel workloads" in str(state.data)


async def test_a_platform_that_nobody_described_is_told_before_the_log_is_read(
    config: FlywheelConfig,
) -> None:
    connections = config.connections.model_copy(update={"platform": "flywheel-nemo-microservices/not-saved"})
    with pytest.raises(ConfigError, match=r"connections\.platform names the block"):
        await run_flywheel(config.model_copy(update={"connections": connections}))
    assert not list((Path(config.connections.home) / "datasets").glob("extracted/*"))
