"""What is concluded from a run's evaluations, computed from what is stored and kept with the run."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from blocks.connections import open_dataset_store, open_log_store, open_run_store
from flywheel.config import FlywheelConfig
from flywheel.errors import FlywheelError
from flywheel.findings.analysis import Analysis
from flywheel.progress import silent
from tasks.concluding.conclusions import Conclusions
from tasks.concluding.contradicted import contradicted_of
from tasks.concluding.drift import drift_of_data
from tasks.concluding.regressions import runs_before
from tasks.curating.curation import CuratedData
from tasks.evaluating.judging import judge_health
from tasks.runs import change_run


@task(task_run_name="conclude", cache_policy=NO_CACHE)
async def analyse(
    run_id: str, config: FlywheelConfig, data: CuratedData, replayed: str | None = None
) -> Analysis:
    """Verdicts, comparisons, costs and regressions of a run, kept with it.

    Evaluations are worth keeping whatever becomes of their analysis: what cannot be computed is noted.

    Args:
        replayed: Predictions file of the production model, where it was asked the items again.
    """
    store = await open_dataset_store(config.connections)
    runs = await open_run_store(config.connections)
    with contextlib.closing(runs):
        run = await asyncio.to_thread(runs.load_run, run_id)
        try:
            health = await judge_health(run_id, config)
            before = await asyncio.to_thread(runs_before, run, runs)
            work = Conclusions(run, config, data, replayed, store, before)
            analysis = await asyncio.to_thread(work.drawn)
            kpis = msgspec.structs.replace(analysis.kpis, share_instrumented=await _instrumented(config))
            drift = await asyncio.to_thread(drift_of_data, config, data, store)
            contradicted = await asyncio.to_thread(contradicted_of, run, data, store)
            analysis = msgspec.structs.replace(
                analysis, judge_health=health, kpis=kpis, drift=drift, contradicted=contradicted
            )
        except Exception as error:
            if not isinstance(error, FlywheelError):
                get_run_logger().error("The analysis failed", exc_info=error)
            analysis = Analysis(notes=[f"The results could not be analysed: {error}"])
    await change_run(run_id, config, lambda kept: msgspec.structs.replace(kept, analysis=analysis))
    return analysis


async def _instrumented(config: FlywheelConfig) -> float | None:
    """Share of the client's calls in the log that carry a workload id; None where the log cannot be looked at."""
    try:
        logs = await open_log_store(config)
        found = await asyncio.to_thread(logs.workloads, silent)
    except FlywheelError as error:
        get_run_logger().warning("The share of traffic with a workload id is not known: %s", error)
        return None
    of_client = [one.share_without_workload_id for one in found if one.client_id == config.client_id]
    return 1 - of_client[0] if of_client else None
