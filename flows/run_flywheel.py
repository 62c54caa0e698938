"""One turn of the flywheel for one workload.

    extract → validate → deduplicate → split → check leakage → build datasets
      └─ for each candidate, in parallel as far as GPU slots allow: `flows.run_candidate`
    compare → publish → finish

It surfaces candidates with the evidence; it never promotes or deploys one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from blocks.connections import remembering_blocks
from blocks.endpoints.endpoint_limits import sharing_limits
from flows.candidate_somewhere import candidate_somewhere
from flows.curate_partitions import extract_and_validate
from flows.outcomes import outcome, reraise_stop, uninterrupted
from flows.stopping import stopped_by_sigterm
from flywheel.candidates import with_names
from flywheel.config import FlywheelConfig
from flywheel.curation.funnel import funnel_of
from flywheel.errors import ConfigError, FlywheelError
from flywheel.findings.log_facts import facts_of
from flywheel.overrides import with_overrides
from flywheel.report.summary import headline
from flywheel.rerun import EVERYTHING, PartConfig, data_settings_in, part_of, taken_over
from flywheel.results import CandidateResult, RunResult
from tasks.artifacts import publish_results
from tasks.candidates.allowance import continue_when_open
from tasks.candidates.rerun import data_of, keep_part, part_to_do, run_to_repeat
from tasks.candidates.training_bounds import check_fine_tunes
from tasks.concluding.analysis import analyse
from tasks.concluding.decisions import wait_for_decisions
from tasks.concluding.history import history_of_data, recall_history, remember
from tasks.curating.curation import (
    CuratedData,
    build_base_and_training,
    deduplicate_records,
    require_no_leakage,
)
from tasks.curating.splitting import split_records
from tasks.evaluating.judging import check_judge_and_metrics
from tasks.evaluating.production import ask_production_again
from tasks.evaluating.specialist import check_specialist_set
from tasks.events import tell_of
from tasks.runs import begin_run, end_run, keep_candidate, keep_curation, mark_ended, run_status
from tasks.slots.gpu_slots import ensure_gpu_slots

APART = 0.25
"""Seconds between the starts of two candidates. Together, their first requests shut each other out of a Prefect server
on SQLite, and its client pauses for seconds before it asks again."""


@flow(name="flywheel", flow_run_name="{config.workload_id}")
async def run_flywheel(
    config: FlywheelConfig,
    overrides: dict[str, Any] | None = None,
    run_id: str = "",
    part: PartConfig = EVERYTHING,
) -> State[RunResult]:
    """Find out whether smaller or fine-tuned models could do this workload's work.

    Args:
        config: The settings of the run.
        overrides: Single settings that replace those of the deployment, for example
            {"data_split_config.eval_size": 100}; everything else stays as the deployment has it.
        run_id: Resume the run with this id: what it finished is not repeated. Empty starts a new one.
        part: Only some candidates, only some stages, or a part of an earlier run again. Empty: everything.
    """
    with stopped_by_sigterm(), remembering_blocks():
        config = with_names(with_overrides(config, overrides or {}))
        run_id = run_id or str(runtime.flow_run.id)
        part = await part_to_do(run_id, part, config.connections)
        earlier = await run_to_repeat(part.of_run, config.connections)
        if earlier is not None and (fixed := data_settings_in(overrides or {})):
            raise ConfigError(
                f"{fixed[0]} cannot be changed in a rerun, which works on the datasets of {part.of_run}."
            )
        return await turn(run_id, part_of(config, part, earlier), part, earlier)


async def turn(
    run_id: str, config: FlywheelConfig, part: PartConfig, earlier: RunResult | None
) -> State[RunResult]:
    """The run itself, under settings that are final; however it ends, the run store has it.

    Args:
        earlier: The run that a part is done of again, on its datasets; None makes datasets from the log.
    """
    check_specialist_set(config)
    await begin_run(run_id, config, part)
    try:
        await keep_part(run_id, config, part)
        await check_judge_and_metrics(config)
        await check_fine_tunes(config)
        await ensure_gpu_slots(config)
        data = await data_of(run_id, config, earlier) if earlier else await curate(run_id, config)
        with sharing_limits():  # candidates at one endpoint are counted together there
            results = await asyncio.gather(
                *(
                    candidate_outcome(run_id, candidate, config, data, part, earlier, after=place * APART)
                    for place, candidate in enumerate(config.candidates)
                ),
                return_exceptions=True,
            )
        state = await finish(run_id, config, data, all_kept(results))
    except Exception as error:
        await end_run(run_id, config, "failed", str(error), error=str(error))
        raise
    except BaseException:
        await uninterrupted(
            mark_ended(run_id, config, "cancelled", "Stopped before its end; it can be resumed.")
        )
        raise
    if (
        config.decision_config.require_decision
    ):  # the run has ended: whatever happens here takes nothing from it
        await wait_for_decisions(run_id, config)
    return state


async def curate(run_id: str, config: FlywheelConfig) -> CuratedData:
    """The data half: from the log to datasets, before any model is touched."""
    history = await recall_history(run_id, config)
    joined = await extract_and_validate(run_id, config, history)
    extracted, validated = joined.extracted, joined.validated
    deduplicated = await deduplicate_records(config, validated, history)
    sides = await split_records(config, extracted, validated, deduplicated, history)
    checked = await require_no_leakage(config, validated, sides)
    datasets = await build_base_and_training(config, validated, checked)
    data = CuratedData(
        validated=validated,
        assignment=checked,
        datasets=datasets,
        history=history_of_data(history, extracted, sides),
    )
    funnel = funnel_of(extracted.counts, validated.counts, deduplicated.counts, sides.counts, checked.counts)
    facts = facts_of(extracted.counts, validated.counts, deduplicated.counts)
    await keep_curation(run_id, config, data, funnel, facts)
    return data


async def candidate_outcome(
    run_id: str,
    candidate: Any,
    config: FlywheelConfig,
    data: CuratedData,
    part: PartConfig = EVERYTHING,
    earlier: RunResult | None = None,
    after: float = 0.0,
) -> CandidateResult:
    """One candidate's result; a failure marks this candidate and nothing else. It begins `after` so many seconds."""
    await asyncio.sleep(after)
    result: CandidateResult | Exception
    if earlier is not None and part.only_candidates and candidate.name not in part.only_candidates:
        result = taken_over(candidate, earlier)
    else:
        result = await outcome(candidate_somewhere(run_id, candidate, config, data, part))
    if isinstance(result, Exception):
        if not isinstance(result, FlywheelError):
            get_run_logger().error("Candidate %s failed", candidate.name, exc_info=result)
        result = CandidateResult(
            candidate=candidate.name,
            model_name=candidate.model,
            status="failed",
            error=str(result) or type(result).__name__,
        )
    await keep_candidate(run_id, config, result)
    return result


def all_kept(results: Sequence[CandidateResult | BaseException]) -> list[CandidateResult]:
    """The candidates' results, all of them.

    A failed candidate is a result. An exception here is one that could not be written down: a run that counted the
    others alone would call itself completed. So it is raised, now that every candidate has freed what it held.
    """
    reraise_stop(results)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, CandidateResult)]


async def finish(
    run_id: str, config: FlywheelConfig, data: CuratedData, results: list[CandidateResult]
) -> State[RunResult]:
    """Derive the run's state from its candidates, conclude, publish what was found, and end."""
    status = run_status(results)
    replayed = await ask_production_again(run_id, config, data) if status != "failed" else None
    analysis = await analyse(run_id, config, data, replayed)
    await remember(run_id, config, data, results)
    message = headline(results, analysis)
    paused = any(result.waits_for == "window" for result in results)
    if paused:
        message = f"{message}; {await continue_when_open(run_id, config)}"
    run = await end_run(run_id, config, status, message)
    await publish_results(run, config, data)
    tell_of(run)
    if status == "failed":
        return Failed(message=message, data=run)
    if paused:
        return Completed(name="OutsideWindow", message=message, data=run)
    return Completed(name="Partial" if status == "partial" else None, message=message, data=run)
