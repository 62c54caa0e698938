"""Windows, budgets and reruns of parts, in whole runs on a platform that answers at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from blocks.connections import open_run_store
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
from flywheel.errors import ConfigError, DataError, OutsideWindow
from flywheel.rerun import PartConfig
from flywheel.results import CandidateResult, RunResult
from tasks.allowance import within_window
from tests.fakes.gpu_platform import GpuPlatformServer
from tests.fakes.judge_server import ScriptedJudge

pytestmark = [
    pytest.mark.slow,
    # Prefect's concurrency client leaves its sockets to the garbage collector; ours are closed by their owners.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
    ),
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
]


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


def closed_now() -> WindowConfig:
    """A window that opens in two hours, for one."""
    now = datetime.now(UTC)
    begin, end = (f"{now + timedelta(hours=h):%H:%M}" for h in (2, 3))
    return WindowConfig(hours=f"{begin}-{end}")


async def test_outside_its_window_a_run_curates_touches_no_gpu_and_can_be_resumed(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    outside = config.model_copy(update={"window_config": closed_now()})
    state, waiting = await run(outside)

    assert (state.name, state.type.value) == ("OutsideWindow", "COMPLETED")
    assert "flywheel run --resume run-a" in state.message
    assert waiting.status == "partial"
    assert [(r.status, r.waits_for) for r in waiting.candidates] == [("pending", "window")] * 2
    assert "waits for the window" in str(waiting.candidates[0].error)
    assert waiting.datasets
    assert gpu_platform.events == []

    state, resumed = await run(config)
    assert state.is_completed()
    assert [result.status for result in resumed.candidates] == ["completed"] * 2
    assert resumed.datasets == waiting.datasets


async def test_work_is_stopped_when_the_window_closes_if_so_set(config: FlywheelConfig) -> None:
    window = WindowConfig(hours="22:00-06:00", on_close="stop")
    stopping = config.model_copy(update={"window_config": window})
    just_before = datetime(2026, 6, 2, 5, 59, 59, 900_000, tzinfo=UTC)
    with pytest.raises(OutsideWindow, match="opens at 2026-06-02 22:00 UTC"):
        async with within_window(stopping, "alpha", just_before):
            await asyncio.sleep(30)
    finishing = config.model_copy(update={"window_config": window.model_copy(update={"on_close": "finish"})})
    async with within_window(finishing, "alpha", just_before):
        await asyncio.sleep(0.3)


async def test_a_time_out_of_the_work_itself_is_not_taken_for_the_window(config: FlywheelConfig) -> None:
    window = WindowConfig(hours="22:00-06:00", on_close="stop")
    stopping = config.model_copy(update={"window_config": window})
    with pytest.raises(TimeoutError):
        async with within_window(stopping, "alpha", datetime(2026, 6, 2, 23, tzinfo=UTC)):
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
