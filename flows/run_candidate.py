"""One candidate from deployment to shut-down: the inner DAG of a run.

icl dataset
deploy ─┬─ base-eval
        ├─ icl-eval
        └─ fine-tune → customized-eval
shut down (always)
judge (where one is set; deployed for as long as it takes, where the platform has to)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from prefect import flow
from prefect.logging import get_run_logger

from blocks.ports import Endpoint
from flows.judge_answers import judged
from flows.outcomes import outcome, reason_of, reraise_stop, uninterrupted
from flows.stopping import stopped_by_sigterm
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.errors import DataError, FlywheelError, NotStarted, OverBudget, TrainingOutOfTime
from flywheel.rerun import EVERYTHING, PartConfig, merged, without_unwanted
from flywheel.results import CandidateResult, Customization, EvalType, Evaluation
from tasks.candidates.allowance import on_account, require_open_window, set_aside, within_window
from tasks.candidates.on_platform import deploy, fine_tune, serve_customization, shut_down
from tasks.candidates.rerun import earlier_result
from tasks.curating.curation import CuratedData, Reference, build_icl_dataset
from tasks.evaluating.evaluation import evaluate
from tasks.evaluating.specialist import ask_specialist_set
from tasks.runs import candidate_status, finished_candidate, keep_candidate
from tasks.slots.gpu_slots import expected_length, slots_of
from tasks.slots.queue import GpuSlots, gpu_slots


@flow(name="candidate", flow_run_name="{candidate.name}")
async def run_candidate(
    run_id: str,
    candidate: CandidateConfig,
    config: FlywheelConfig,
    data: CuratedData,
    part: PartConfig = EVERYTHING,
    keep: bool = False,
) -> CandidateResult:
    """Deploy, evaluate, fine-tune and evaluate one candidate, within its GPU slots.

    Args:
        run_id: The run that the candidate belongs to.
        candidate: The model under test.
        config: The settings of the run.
        data: What curation left.
        part: The stages to do; what is left out is taken over from the run that it names.
        keep: Write the result into the run store here: for a run on a worker, whose caller reads it there.
    """
    with stopped_by_sigterm():
        if done := await finished_candidate(config, run_id, candidate):
            return done  # an earlier attempt at this run got to its end with this candidate
        result = await _result(run_id, candidate, config, data, part)
        if keep:
            await keep_candidate(run_id, config, result)
        return result


async def _result(
    run_id: str, candidate: CandidateConfig, config: FlywheelConfig, data: CuratedData, part: PartConfig
) -> CandidateResult:
    earlier = await earlier_result(part.of_run, config, candidate.name)
    if part.judges_alone:
        if earlier is None:
            raise DataError(f"Run {part.of_run} has no answers of {candidate.name} to judge.")
        return await judged(run_id, candidate, earlier, data, config)
    candidate = without_unwanted(candidate, part)
    try:
        result = await _evaluated(run_id, candidate, config, data, part, earlier)
    except NotStarted as reason:
        result = not_started(candidate, reason)
    result = merged(result, earlier)
    return await judged(run_id, candidate, result, data, config) if part.wants("judge") else result


async def _evaluated(
    run_id: str,
    candidate: CandidateConfig,
    config: FlywheelConfig,
    data: CuratedData,
    part: PartConfig,
    earlier: CandidateResult | None,
) -> CandidateResult:
    """The candidate's evaluations. Raises: NotStarted where the window or a budget says so."""
    require_open_window(config, candidate.name)  # before it stands in a queue for hours
    trained = None
    if candidate.customize and not part.wants_training:
        trained = earlier.customization if earlier else None
        if trained is None or trained.status != "completed":
            raise DataError(
                f"Run {part.of_run} has no finished fine-tune of {candidate.name}; add the stage 'fine-tune'."
            )
    icl: Reference | Exception | None = None
    if candidate.icl:
        icl = await outcome(build_icl_dataset(config, candidate, data))
    deployment, training = slots_of(candidate)
    length = await expected_length(config, candidate, data.datasets.counts.get("rows", {}))
    async with gpu_slots(f"{candidate.name} of run {run_id}", deployment, training, length) as held:
        require_open_window(config, candidate.name)
        await set_aside(run_id, config, candidate)
        async with on_account(run_id, config, candidate):
            try:
                async with within_window(config, candidate.name):
                    endpoint = await deploy(run_id, candidate, config)
                    legs = await asyncio.gather(
                        _base(run_id, candidate, endpoint, data, config, part),
                        _icl(run_id, candidate, endpoint, data, icl, config),
                        _customized(run_id, candidate, data, config, held, trained),
                        return_exceptions=True,
                    )
            finally:
                await uninterrupted(shut_down(run_id, candidate, config))
    reraise_stop(legs)
    return _collect(candidate, legs)


async def _base(
    run_id: str,
    candidate: CandidateConfig,
    endpoint: Endpoint,
    data: CuratedData,
    config: FlywheelConfig,
    part: PartConfig,
) -> Evaluation | None:
    if not part.wants("base-eval"):
        return None
    evaluation = await evaluate(run_id, candidate, "base-eval", endpoint, data.datasets, None, config)
    return await with_specialist_set(run_id, candidate, evaluation, endpoint, data, config)


async def _icl(
    run_id: str,
    candidate: CandidateConfig,
    endpoint: Endpoint,
    data: CuratedData,
    dataset: Reference | Exception | None,
    config: FlywheelConfig,
) -> Evaluation | None:
    if dataset is None:
        return None
    if isinstance(dataset, Exception):
        raise dataset
    return await evaluate(run_id, candidate, "icl-eval", endpoint, data.datasets, dataset, config)


async def _customized(
    run_id: str,
    candidate: CandidateConfig,
    data: CuratedData,
    config: FlywheelConfig,
    held: GpuSlots,
    trained: Customization | None,
) -> tuple[Customization, Evaluation | Exception] | None:
    if not candidate.customize:
        return None
    try:
        customization = trained or await fine_tune(run_id, candidate, data.datasets, config)
    finally:
        await uninterrupted(held.training_is_over())

    async def evaluated() -> Evaluation:
        require_open_window(config, candidate.name)
        endpoint = await serve_customization(run_id, candidate, customization, config)
        evaluation = await evaluate(
            run_id, candidate, "customized-eval", endpoint, data.datasets, None, config
        )
        evaluation = msgspec.structs.replace(evaluation, notes=[*customization.remarks, *evaluation.notes])
        return await with_specialist_set(run_id, candidate, evaluation, endpoint, data, config)

    return customization, await outcome(evaluated())


async def with_specialist_set(
    run_id: str,
    candidate: CandidateConfig,
    evaluation: Evaluation,
    endpoint: Endpoint,
    data: CuratedData,
    config: FlywheelConfig,
) -> Evaluation:
    """The evaluation with the scores of the specialist set, where the settings name one."""
    if not config.evaluation_config.extra_items:
        return evaluation
    return await ask_specialist_set(run_id, candidate, evaluation, endpoint, data.datasets, config)


def _collect(candidate: CandidateConfig, legs: Sequence[Any]) -> CandidateResult:
    base, icl, customized = legs
    evaluations = [] if base is None else [_as_evaluation("base-eval", candidate, base)]
    if candidate.icl:
        evaluations.append(_as_evaluation("icl-eval", candidate, icl))
    customization = None
    if candidate.customize:
        if isinstance(customized, Exception):
            reason = reason_of(customized)
            cut = reason if isinstance(customized, TrainingOutOfTime) else ""
            customization = Customization(job="", status="failed", error=reason, cut=cut)
            evaluation: Any = customized
        else:
            customization, evaluation = customized
        evaluations.append(_as_evaluation("customized-eval", candidate, evaluation))
    status, error = candidate_status(evaluations)
    ends = [*legs, customized[1] if isinstance(customized, tuple) else None]
    waiting = any(isinstance(end, NotStarted) for end in ends)
    return CandidateResult(
        candidate=candidate.name,
        model_name=candidate.model,
        status="pending" if waiting else status,
        evaluations=evaluations,
        customization=customization,
        error=error,
        waits_for="window" if waiting else "",
    )


def not_started(candidate: CandidateConfig, reason: NotStarted) -> CandidateResult:
    """A candidate that may not be worked on now, with the reason."""
    return CandidateResult(
        candidate=candidate.name,
        model_name=candidate.model,
        status="pending",
        error=str(reason),
        waits_for="budget" if isinstance(reason, OverBudget) else "window",
    )


def _as_evaluation(
    eval_type: EvalType, candidate: CandidateConfig, result: Evaluation | Exception
) -> Evaluation:
    if isinstance(result, Exception):
        if not isinstance(result, FlywheelError):
            get_run_logger().error("%s of %s failed", eval_type, candidate.name, exc_info=result)
        return Evaluation(eval_type=eval_type, model=candidate.model, error=reason_of(result))
    return result
