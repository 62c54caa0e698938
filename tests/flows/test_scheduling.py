"""Windows, budgets and reruns of parts, in whole runs on a platform that answers at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from blocks.connections import open_run_store
from blocks.ports import LedgerEntry
from blocks.scoring.judge_connection import JudgeModel
from flows.run_flywheel import run_flywheel
from flywheel.config import (
    BudgetConfig,
    FlywheelConfig,
    JudgeConfig,
    PriceConfig,
    TrainingConfig,
    WindowConfig,
)
from flywheel.errors import ConfigError, DataError
from flywheel.rerun import PartConfig
from flywheel.results import CandidateResult, RunResult
from flywheel.scheduling.clock import by_clock
from tasks.candidates.allowance import within_window
from tasks.slots.lease import GPU_LIMIT
from tests.fakes.gpu_platform import GpuPlatformServer
from tests.fakes.judge_server import ScriptedJudge

pytestmark = pytest.mark.slow


async def run(config: FlywheelConfig, run_id: str = "run-a", **parameters: Any) -> tuple[Any, RunResult]:
    state = await run_flywheel(config, run_id=run_id, return_state=True, **parameters)
    if state.is_failed():
        error = await state.aresult(raise_on_failure=False)
        if isinstance(error, BaseException):
            raise error
    store = await open_run_store(config.connections)
    try:
        return state, store.load_run(run_id)
    finally:
        store.close()


def result_of(run: RunResult, candidate: str) -> CandidateResult:
    return next(result for result in run.candidates if result.candidate == candidate)


NIGHTS = "22:00-06:00"
EVENING, MIDNIGHT, MORNING, NEXT_NIGHT = (
    datetime(2026, 6, day, hour, tzinfo=UTC) for day, hour in ((1, 20), (2, 0), (2, 6), (2, 23))
)


class Clock:
    """Shows what it was set to."""

    def __init__(self) -> None:
        self.shows = EVENING

    def __call__(self) -> datetime:
        return self.shows


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with by_clock(clock):
        yield clock


async def test_a_run_waits_for_its_window_is_stopped_when_it_closes_and_finishes_in_the_next(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer, clock: Clock
) -> None:
    window = WindowConfig(hours=NIGHTS, on_close="stop")
    nightly = config.model_copy(update={"window_config": window, "candidates": config.candidates[:1]})
    items = config.data_split_config.eval_size

    state, waiting = await run(nightly)
    assert (state.name, state.type.value) == ("OutsideWindow", "COMPLETED")
    assert "flywheel run --resume run-a" in state.message
    assert waiting.status == "partial"
    assert [(r.status, r.waits_for) for r in waiting.candidates] == [("pending", "window")]
    assert "opens at 2026-06-01 22:00 UTC" in str(waiting.candidates[0].error)
    assert waiting.datasets
    assert gpu_platform.events == []

    def morning_comes(kind: str, name: str) -> None:
        if kind == "submitted":
            clock.shows = MORNING

    clock.shows, gpu_platform.on_event, gpu_platform.misbehave.train_seconds = MIDNIGHT, morning_comes, 600
    state, stopped = await run(nightly)
    assert state.name == "OutsideWindow"
    assert [(r.status, r.waits_for) for r in stopped.candidates] == [("pending", "window")]
    assert "opens at 2026-06-02 22:00 UTC" in str(stopped.candidates[0].error)
    assert len(gpu_platform.happened("cancelled")) == 1
    assert gpu_platform.deployments == {}
    assert await held(nightly) == (0, [])

    clock.shows, gpu_platform.misbehave.train_seconds = NEXT_NIGHT, 0.05
    gpu_platform.on_event = lambda kind, name: None
    state, finished = await run(nightly)
    assert (state.name, finished.status) == ("Completed", "completed")
    assert [evaluation.error for evaluation in finished.candidates[0].evaluations] == [None] * 3
    assert finished.datasets == waiting.datasets
    assert gpu_platform.asked <= 3 * items + 2 * nightly.evaluation_config.concurrency
    assert await held(nightly) == (0, [])

    def it_dawns_on_the_judge(kind: str, name: str) -> None:
        if kind == "deployed":
            clock.shows = NEXT_NIGHT + timedelta(hours=7)

    gpu_platform.on_event, gpu_platform.misbehave.answer_seconds = it_dawns_on_the_judge, 3
    judged = nightly.model_copy(update={"judge_config": JudgeConfig(model="large")})
    state, unjudged = await run(judged, "run-b", part=PartConfig(of_run="run-a", stages=["judge"]))
    assert state.name == "OutsideWindow"
    assert [(r.status, r.waits_for) for r in unjudged.candidates] == [("pending", "window")]
    assert gpu_platform.deployments == {}
    assert await held(judged) == (0, [])


async def test_what_runs_when_the_window_closes_may_finish_and_nothing_new_begins_before_the_next(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer, clock: Clock
) -> None:
    window = WindowConfig(hours=NIGHTS, on_close="finish")
    nightly = config.model_copy(update={"window_config": window, "candidates": config.candidates[:1]})

    def morning_comes(kind: str, name: str) -> None:
        if kind == "submitted":
            clock.shows = MORNING

    clock.shows, gpu_platform.on_event = MIDNIGHT, morning_comes
    state, waiting = await run(nightly)
    assert state.name == "OutsideWindow"
    [alpha] = waiting.candidates
    assert (alpha.status, alpha.waits_for) == ("pending", "window")
    assert [(e.eval_type, e.error is None) for e in alpha.evaluations] == [
        ("base-eval", True),
        ("icl-eval", True),
        ("customized-eval", False),
    ]
    assert alpha.customization is not None
    assert alpha.customization.status == "completed"
    assert gpu_platform.happened("cancelled") == []
    assert await held(nightly) == (0, [])

    clock.shows = NEXT_NIGHT
    state, finished = await run(nightly)
    assert (state.name, finished.status) == ("Completed", "completed")
    assert len(gpu_platform.happened("submitted")) == 1
    assert gpu_platform.asked == 3 * config.data_split_config.eval_size


async def held(config: FlywheelConfig) -> tuple[int, list[LedgerEntry]]:
    """GPU slots that are taken, and what the ledger has."""
    async with get_client() as client:
        slots = (await client.read_global_concurrency_limit_by_name(GPU_LIMIT)).active_slots
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        return slots, runs.allocated()


async def test_a_time_out_of_the_work_itself_is_not_taken_for_the_window(config: FlywheelConfig) -> None:
    window = WindowConfig(hours=NIGHTS, on_close="stop")
    stopping = config.model_copy(update={"window_config": window})
    with by_clock(lambda: MIDNIGHT), pytest.raises(TimeoutError):
        async with within_window(stopping, "alpha"):
            raise TimeoutError


async def test_what_would_exceed_a_budget_does_not_start_and_says_why(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    small, large = (c.model_copy(update={"customize": False, "icl": False}) for c in config.candidates)
    prices = [PriceConfig(model="alpha", gpu_hour=2.0)]
    bounded = config.model_copy(
        update={
            "candidates": [small, large.model_copy(update={"gpus": 2})],
            "budget_config": BudgetConfig(gpu_hours_per_run=1.5, expected_gpu_hours=1.0),
            "analysis_config": config.analysis_config.model_copy(update={"prices": prices}),
        }
    )
    state, result = await run(bounded)

    assert state.name == "Partial"
    assert [(r.status, r.waits_for) for r in result.candidates] == [("completed", ""), ("pending", "budget")]
    reason = "beta is expected to need 2 GPU-hours, and of the run's 1.5"
    assert reason in str(result.candidates[1].error)
    assert reason in state.message
    assert len(gpu_platform.happened("deployed")) == 1
    assert set(result.used) == {"alpha"}
    used = result.used["alpha"]
    assert 0 < used.gpu_hours < 0.1
    assert used.money == pytest.approx(2.0 * used.gpu_hours)
    assert result.expected == {}


async def test_a_candidate_is_retrained_then_judged_anew_and_the_rest_is_taken_over(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    _, first = await run(config)
    gpu_platform.events.clear()
    other = config.model_copy(update={"training_config": TrainingConfig(epochs=3)})
    part = PartConfig(of_run="run-a", only_candidates=["beta"], stages=["fine-tune"])
    state, again = await run(other, "run-b", part=part)

    assert state.is_completed()
    assert again.datasets == first.datasets
    assert again.eval_set == first.eval_set
    assert result_of(again, "alpha") == result_of(first, "alpha")
    before, after = result_of(first, "beta"), result_of(again, "beta")
    assert after.evaluations[:2] == before.evaluations[:2]
    assert [e.eval_type for e in after.evaluations] == ["base-eval", "icl-eval", "customized-eval"]
    assert after.evaluations[2].predictions != before.evaluations[2].predictions
    assert before.customization is not None
    assert after.customization is not None
    assert after.customization.job != before.customization.job
    assert gpu_platform.happened("submitted") == [after.customization.job]
    assert len(gpu_platform.happened("deployed")) == 1
    assert gpu_platform.deployments == {}

    gpu_platform.events.clear()
    async with ScriptedJudge() as server:
        block = JudgeModel(base_url=server.base_url, model="another-judge")
        await block.save("other", overwrite=True)
        judged = config.model_copy(update={"judge_config": JudgeConfig(block="flywheel-judge/other")})
        part = PartConfig(of_run="run-b", only_candidates=["alpha"], stages=["judge"])
        state, rated = await run(judged, "run-c", part=part)

    assert state.is_completed()
    assert gpu_platform.events == []
    scores = result_of(rated, "alpha").evaluations[0].scores
    assert set(result_of(first, "alpha").evaluations[0].scores) < set(scores)
    assert result_of(rated, "beta") == after


async def test_a_part_that_cannot_be_done_is_refused_in_a_sentence(config: FlywheelConfig) -> None:
    with pytest.raises(ConfigError, match="perhaps 'alpha'"):
        await run(config, part=PartConfig(only_candidates=["alpa"]))
    with pytest.raises(DataError, match="no run 'run-z'"):
        await run(config, part=PartConfig(of_run="run-z"))
    with pytest.raises(ValueError, match="build on an earlier run"):
        PartConfig(stages=["judge"])


async def test_a_run_does_not_go_on_as_one_of_another_workload(config: FlywheelConfig) -> None:
    """Whoever fills in nothing but `run_id` in the form of a deployment for any workload would lose its results."""
    stored = RunResult("run-a", "their-router", "acme", "partial", "2026-01-01T00:00:00+00:00")
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        runs.save_run(stored)
        with pytest.raises(ConfigError, match="Run run-a is of the workload 'their-router' of client 'acme'"):
            await run(config)
        assert runs.load_run("run-a") == stored
