"""The run in the run store: begun before anything else, kept up to date, ended with a state that is true."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from blocks.connections import open_dataset_store, open_log_store, open_platform, open_run_store
from flywheel.candidates import deployment_name, judge_of
from flywheel.config import FlywheelConfig
from flywheel.errors import ConfigError
from flywheel.evaluation.eval_set import eval_set_of
from flywheel.evaluation.files import read_items
from flywheel.findings.log_facts import LogFacts
from flywheel.rerun import EVERYTHING, PartConfig, without_unwanted
from flywheel.results import CandidateResult, CandidateStatus, Evaluation, RunResult, RunStatus
from flywheel.resuming import pending, results_that_stand, same_data
from tasks.cleaning.cleanup import release
from tasks.curating.curation import CuratedData, Reference
from tasks.retry_conditions import is_transient
from tasks.run_owner import bury_earlier_owner, record_owner, require_no_other, strike_owner


@task(task_run_name="begin run", cache_policy=NO_CACHE)  # the store has waited: away at the start is an error
async def begin_run(run_id: str, config: FlywheelConfig, part: PartConfig = EVERYTHING) -> RunResult:
    """Write the run down with its effective settings; a run that is resumed keeps its start and what still stands."""
    await open_log_store(config)  # a missing setting or block is told now, not when the data is ready
    await open_platform(config.connections)
    await _sweep(config)
    runs = await open_run_store(config.connections)
    with contextlib.closing(runs):
        earlier = await asyncio.to_thread(runs.find_run, run_id)
        _require_same_workload(earlier, config)
        held = await asyncio.to_thread(runs.allocated, run_id)
        await require_no_other(run_id, earlier, held)
        await bury_earlier_owner(earlier, held)
        store = await open_dataset_store(config.connections)
        await asyncio.to_thread(lambda: store.serve(runs.identity()))
        await record_owner(config, run_id)
        await release(config, run_id, ["deployment"], keep=_still_wanted(run_id, config, part))
        run = _begun(run_id, config, earlier)
        await asyncio.to_thread(runs.save_run, run)
    return run


def _require_same_workload(earlier: RunResult | None, config: FlywheelConfig) -> None:
    """Raises ConfigError for a run that would go on as one of another workload, and lose what it found."""
    if earlier and (earlier.workload_id, earlier.client_id) != (config.workload_id, config.client_id):
        raise ConfigError(
            f"Run {earlier.run_id} is of the workload {earlier.workload_id!r} of client {earlier.client_id!r}, and the "
            f"settings name {config.workload_id!r} of {config.client_id!r}. Resume it under its own, in the form by "
            "`overrides` with workload_id and client_id; or leave run_id empty for a new run."
        )


def _still_wanted(run_id: str, config: FlywheelConfig, part: PartConfig) -> set[str]:
    """Deployments that a resumed run adopts. Those of candidates that it has no longer, or has changed, go."""
    judge = config.judge_config
    judges = [judge_of(candidate, judge) for candidate in config.candidates] if judge.deployed else []
    candidates = [without_unwanted(candidate, part) for candidate in config.candidates]
    return {deployment_name(run_id, model) for model in [*candidates, *judges]}


def _begun(run_id: str, config: FlywheelConfig, earlier: RunResult | None) -> RunResult:
    settings = config.model_dump(mode="json")
    return RunResult(
        run_id=run_id,
        workload_id=config.workload_id,
        client_id=config.client_id,
        status="running",
        started_at=earlier.started_at if earlier else datetime.now(UTC).isoformat(),
        funnel=earlier.funnel if earlier else {},
        log_facts=earlier.log_facts if earlier else None,
        datasets=earlier.datasets if earlier else {},
        candidates=results_that_stand(earlier, config) if earlier else pending(config),
        config=settings,
        eval_set=earlier.eval_set if earlier else "",
        decisions=earlier.decisions if earlier else [],
        memory=earlier.memory if earlier else None,
        used=earlier.used if earlier else {},
        part=earlier.part if earlier else {},
    )


@task(
    task_run_name="keep curation",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[1, 5, 15],
    retry_condition_fn=is_transient,
)
async def keep_curation(
    run_id: str,
    config: FlywheelConfig,
    data: CuratedData,
    funnel: dict[str, int],
    facts: LogFacts | None = None,
) -> RunResult:
    """Add the funnel, why records were refused, the datasets and the production model's name to the run.

    Results of an earlier attempt over other data go: no run compares candidates over different items.
    """
    store = await open_dataset_store(config.connections)
    items = read_items(store.open(data.datasets.ref) / "base" / "eval_data.jsonl")
    fresh = set(data.history.fresh_ids)
    models = sorted({str(item.response["model"]) for item in items if item.response.get("model")})
    datasets = {name: part.uri for name, part in data if isinstance(part, Reference)}
    return await change_run(
        run_id,
        config,
        lambda run: msgspec.structs.replace(
            run,
            funnel=funnel,
            log_facts=facts,
            datasets=datasets,
            production_model=", ".join(models) or None,
            eval_set=eval_set_of(item for item in items if item.id not in fresh),
            candidates=run.candidates if same_data(run.datasets, datasets) else pending(config),
        ),
    )


@task(
    task_run_name="keep {result.candidate}",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[1, 5, 15],
    retry_condition_fn=is_transient,
)
async def keep_candidate(run_id: str, config: FlywheelConfig, result: CandidateResult) -> None:
    """Put one candidate's result into the run, in place of what stood there."""

    def with_result(run: RunResult) -> RunResult:
        others = [result if old.candidate == result.candidate else old for old in run.candidates]
        if result.candidate not in {old.candidate for old in run.candidates}:
            others.append(result)
        return msgspec.structs.replace(run, candidates=others)

    await change_run(run_id, config, with_result)


@task(
    task_run_name="end run",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[1, 5, 15],
    retry_condition_fn=is_transient,
)
async def end_run(
    run_id: str, config: FlywheelConfig, status: RunStatus, message: str, error: str | None = None
) -> RunResult:
    """Close the run in the state that its children give it."""
    return await mark_ended(run_id, config, status, message, error)


async def mark_ended(
    run_id: str, config: FlywheelConfig, status: RunStatus, message: str, error: str | None = None
) -> RunResult:
    """What `end_run` does, callable where no task may start any more: while a cancellation unwinds the flow."""
    await release(config, run_id)  # first: a run that says it is over holds nothing any more
    ended = datetime.now(UTC).isoformat()
    run = await change_run(
        run_id,
        config,
        lambda run: msgspec.structs.replace(
            run, status=status, message=message, error=error, finished_at=ended
        ),
    )
    await strike_owner(config, run_id)
    return run


async def finished_candidate(config: FlywheelConfig, run_id: str, candidate: Any) -> CandidateResult | None:
    """The candidate's result, if an earlier attempt at this run completed it and it still stands."""
    runs = await open_run_store(config.connections)
    with contextlib.closing(runs):
        run = await asyncio.to_thread(runs.find_run, run_id)
    if run is None:
        return None
    for result in run.candidates:
        if result.candidate == candidate.name and result.status == "completed":
            return result
    return None


def candidate_status(evaluations: Sequence[Evaluation]) -> tuple[CandidateStatus, str | None]:
    """A candidate's state from its evaluations, and the first thing that went wrong."""
    errors = [evaluation.error for evaluation in evaluations if evaluation.error]
    if not errors:
        return "completed", None
    return ("failed" if len(errors) == len(evaluations) else "partial"), errors[0]


def run_status(results: Sequence[CandidateResult]) -> RunStatus:
    """A run's state from its candidates: completed or failed when all are, else partial."""
    states = {result.status for result in results}
    if states == {"completed"}:
        return "completed"
    if states == {"failed"}:
        return "failed"
    return "partial"


async def change_run(
    run_id: str, config: FlywheelConfig, change: Callable[[RunResult], RunResult]
) -> RunResult:
    """Change the stored run. In a thread: a database that is away for a while must not hold up the event loop."""
    runs = await open_run_store(config.connections)
    with contextlib.closing(runs):
        return await asyncio.to_thread(runs.update_run, run_id, change)


async def _sweep(config: FlywheelConfig) -> None:
    """Free the space of datasets that were left half-written by runs that were killed."""
    store = await open_dataset_store(config.connections)
    for place in await asyncio.to_thread(store.sweep):
        get_run_logger().info("Removed %s, which was left half-written.", place)
