"""A candidate's answers before a judge: one that is there, or one that is deployed for as long as it takes."""

from __future__ import annotations

import msgspec
from prefect.logging import get_run_logger

from flows.outcomes import outcome, reason_of, uninterrupted
from flywheel.candidates import judge_of
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.errors import FlywheelError, NotStarted, OverBudget
from flywheel.results import CandidateResult
from tasks.candidates.allowance import on_account, require_open_window, set_aside, within_window
from tasks.candidates.on_platform import deploy, shut_down
from tasks.curating.curation import CuratedData
from tasks.evaluating.judging import judge_candidate
from tasks.slots.queue import gpu_slots


async def judged(
    run_id: str,
    candidate: CandidateConfig,
    result: CandidateResult,
    data: CuratedData,
    config: FlywheelConfig,
) -> CandidateResult:
    """`result` with a judge's scores. The candidate's own slots are free by now, so a judge can wait for some."""
    judge = config.judge_config
    if not judge.enabled or all(evaluation.predictions is None for evaluation in result.evaluations):
        return result
    if judge.deployed:
        judging = _by_deployed_judge(run_id, candidate, result, data, config)
    else:
        judging = judge_candidate(run_id, candidate, result, data.datasets, None, config)
    scored = await outcome(judging)
    if not isinstance(scored, Exception):
        return scored
    if not isinstance(scored, FlywheelError):
        get_run_logger().error("Judging %s failed", candidate.name, exc_info=scored)
    status = "partial" if result.status == "completed" else result.status
    if isinstance(scored, NotStarted):
        waits_for = "budget" if isinstance(scored, OverBudget) else "window"
        return msgspec.structs.replace(result, status="pending", error=str(scored), waits_for=waits_for)
    error = result.error or f"the answers were not judged: {reason_of(scored)}"
    return msgspec.structs.replace(result, status=status, error=error)


async def _by_deployed_judge(
    run_id: str,
    candidate: CandidateConfig,
    result: CandidateResult,
    data: CuratedData,
    config: FlywheelConfig,
) -> CandidateResult:
    judge = config.judge_config
    model = judge_of(candidate, judge)
    paid_for = model.model_copy(update={"customize": False})  # nobody trains a judge
    require_open_window(config, model.name)
    async with gpu_slots(f"{model.name} of run {run_id}", judge.gpus):
        require_open_window(config, model.name)
        await set_aside(run_id, config, paid_for)
        async with on_account(run_id, config, paid_for):
            try:
                async with within_window(config, model.name):
                    endpoint = await deploy(run_id, model, config)
                    return await judge_candidate(run_id, candidate, result, data.datasets, endpoint, config)
            finally:
                await uninterrupted(shut_down(run_id, model, config))
