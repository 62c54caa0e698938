"""What a run shows in the Prefect UI. Keys are stable per workload, so that the UI keeps versions of each."""

from __future__ import annotations

import json

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from blocks.connections import open_dataset_store
from flywheel.config import FlywheelConfig
from flywheel.naming import slug
from flywheel.report.certificate import certificate_markdown
from flywheel.report.summary import summary_markdown
from flywheel.report.tables import all_scores_rows, funnel_rows, results_rows
from flywheel.results import RunResult
from tasks.curation import CuratedData
from tasks.divergent import divergent_table

MOST_DIVERGENT = 50


@task(task_run_name="publish", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
async def publish_results(run: RunResult, config: FlywheelConfig, data: CuratedData) -> None:
    """Create the run's artifacts: summary, results, scores, funnel, certificate, divergent answers."""
    name = slug(run.workload_id)
    what = f"{run.workload_id} of {run.client_id}, run {run.run_id}"
    store = await open_dataset_store(config.connections)
    certificate = json.loads(
        (store.open(data.assignment.ref) / "certificate.json").read_text(encoding="utf-8")
    )
    await acreate_markdown_artifact(
        summary_markdown(run), key=f"summary-{name}", description=f"Summary: {what}"
    )
    await acreate_table_artifact(results_rows(run), key=f"results-{name}", description=f"Results: {what}")
    await acreate_table_artifact(
        all_scores_rows(run), key=f"scores-{name}", description=f"All scores: {what}"
    )
    await acreate_table_artifact(funnel_rows(run.funnel), key=f"funnel-{name}", description=f"Funnel: {what}")
    await acreate_markdown_artifact(
        certificate_markdown(certificate), key=f"leakage-{name}", description=f"Leakage certificate: {what}"
    )
    await acreate_table_artifact(
        divergent_table(run, store, most=MOST_DIVERGENT),
        key=f"divergent-{name}",
        description=f"Divergent answers, worst {MOST_DIVERGENT}: {what}",
    )
