"""The run in the run store: begun before anything else, kept up to date, ended with a state that is true."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.connections import open_dataset_store, open_run_store
from flywheel.config import FlywheelConfig
from flywheel.evaluation.files import read_items
from flywheel.results import CandidateResult, CandidateStatus, Evaluation, RunResult, RunStatus
from tasks.curation import CuratedData


@task(task_run_name="begin run", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[1, 5, 15])
async def begin_run(run_id: str, config: FlywheelConfig) -> RunResult:
    """Write the run down with its effective settings; a run that is resumed keeps its start and its candidates."""
    runs = await open_run_store(config.connections)
    earlier = _earlier(runs, run_id)
    settings = config.model_dump(mode="json")
    run = RunResult(
        run_id=run_id,
        workload_id=config.workload_id,
        client_id=config.client_id,
        status="running",
        started_at=earlier.started_at if earlier else datetime.now(UTC).isoformat(),
        funnel=earlier.funnel if earlier else {},
        datasets=earlier.datasets if earlier else {},
        candidates=earlier.candidates if earlier else _pending(config),
        config=settings,
    )
    runs.save_run(run)
    runs.close()
    return run


@task(task_run_name="keep curation", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[1, 5, 15])
async def keep_curation(
    run_id: str, config: FlywheelConfig, data: CuratedData, funnel: dict[str, int]
) -> RunResult:
    """Add the funnel, the datasets and the production model's name to the run."""
    store = await open_dataset_store(config.connections)
    items = read_items(store.open(data.datasets.ref) / "base" / "eval_data.jsonl")
    models = sorted({str(item.response["model"]) for item in items if item.response.get("model")})
    runs = await open_run_store(config.connections)
    run = msgspec.structs.replace(
        runs.load_run(run_id),
        funnel=funnel,
        datasets={name: reference.uri for name, reference in data},
        production_model=", ".join(models) or None,
    )
    runs.save_run(run)
    runs.close()
    return run


@task(
    task_run_name="keep {result.candidate}", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[1, 5, 15]
)
async def keep_candidate(run_id: str, config: FlywheelConfig, result: CandidateResult) -> None:
    """Put one candidate's result into the run, in place of what stood there."""
    runs = await open_run_store(config.connections)
    run = runs.load_run(run_id)  # no await between this and the save: candidates end at the same time
    others = [result if old.candidate == result.candidate else old for old in run.candidates]
    if result.candidate not in {old.candidate for old in run.candidates}:
        others.append(result)
    runs.save_run(msgspec.structs.replace(run, candidates=others))
    runs.close()


@task(task_run_name="end run", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[1, 5, 15])
async def end_run(
    run_id: str, config: FlywheelConfig, status: RunStatus, message: str, error: str | None = None
) -> RunResult:
    """Close the run in the state that its children give it."""
    return await mark_ended(run_id, config, status, message, error)


async def mark_ended(
    run_id: str, config: FlywheelConfig, status: RunStatus, message: str, error: str | None = None
) -> RunResult:
    """What `end_run` does, callable where no task may start any more: while a cancellation unwinds the flow."""
    runs = await open_run_store(config.connections)
    run = msgspec.structs.replace(
        runs.load_run(run_id),
        status=status,
        message=message,
        error=error,
        finished_at=datetime.now(UTC).isoformat(),
    )
    runs.save_run(run)
    runs.close()
    return run


async def finished_candidate(config: FlywheelConfig, run_id: str, candidate: Any) -> CandidateResult | None:
    """The candidate's result, if an earlier attempt at this run completed it under the same settings."""
    runs = await open_run_store(config.connections)
    run = _earlier(runs, run_id)
    runs.close()
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


def _pending(config: FlywheelConfig) -> list[CandidateResult]:
    return [
        CandidateResult(candidate=candidate.name, model_name=candidate.model, status="pending")
        for candidate in config.candidates
    ]


def _earlier(runs: Any, run_id: str) -> RunResult | None:
    for run in runs.list_runs(limit=1000):
        if run.run_id == run_id:
            found: RunResult = run
            return found
    return None
