"""What a run shows in the Prefect UI. Keys are stable per workload, so that the UI keeps versions of each."""

from __future__ import annotations

import asyncio

from prefect import task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from blocks.connections import open_dataset_store
from blocks.run_evidence import evidence_of
from flywheel.config import FlywheelConfig
from flywheel.naming import slug_of
from flywheel.report import analysis_tables
from flywheel.report.bounded import bounded
from flywheel.report.cascade_tables import CASCADES_TITLE, cascade_rows
from flywheel.report.certificate import certificate_markdown
from flywheel.report.commands import command
from flywheel.report.escaping import cell, table_text
from flywheel.report.html.pictures import score_picture
from flywheel.report.html.svg import as_image
from flywheel.report.refusals import funnel_with_reasons
from flywheel.report.summary_page import summary_markdown
from flywheel.report.tables import Row, all_scores_rows, results_rows
from flywheel.results import RunResult
from tasks.concluding.divergent import worst_answers
from tasks.curating.curation import CuratedData

MOST_DIVERGENT = 50


@task(task_run_name="publish", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
async def publish_results(run: RunResult, config: FlywheelConfig, data: CuratedData) -> None:
    """Create the run's artifacts: a summary to read first, and a table for each thing that it leans on."""
    name = slug_of(run.workload_id, run.client_id)
    what = table_text(cell(f"{run.workload_id} of {run.client_id}, run {run.run_id}"))
    store = await open_dataset_store(config.connections)
    evidence = await asyncio.to_thread(evidence_of, run, store)
    drawing = score_picture(run)
    summary = summary_markdown(run, as_image(drawing, "Scores with their intervals") if drawing else "")
    await acreate_markdown_artifact(summary, key=f"summary-{name}", description=f"Summary: {what}")
    if evidence.certificate:
        await acreate_markdown_artifact(
            certificate_markdown(evidence.certificate),
            key=f"leakage-{name}",
            description=f"Leakage certificate: {what}",
        )
    divergent = worst_answers(run, evidence, most=MOST_DIVERGENT)
    for kind, title, rows, whole, empty in _tables(run, divergent):
        await acreate_table_artifact(
            bounded(rows, whole, empty=empty), key=f"{kind}-{name}", description=f"{title}: {what}"
        )


def _tables(run: RunResult, divergent: list[Row]) -> list[tuple[str, str, list[Row], str, str]]:
    """Kind, title, rows, where all of them are, and what to say where there are none."""
    report, results, divergents = (
        command(f"{name} {run.run_id}", run.config.get("connections"))
        for name in ("report", "results", "divergent")
    )
    tables = analysis_tables
    return [
        ("verdicts", "Verdicts", tables.verdict_rows(run), report, "No verdict was reached in this run."),
        ("results", "Results", results_rows(run), results, "No candidate has results."),
        ("scores", "All scores", all_scores_rows(run), results, "Nothing was scored."),
        (
            "cascades",
            f"{CASCADES_TITLE} (nothing is routed)",
            cascade_rows(run),
            report,
            "No signal tells this run's answers apart, or nothing was scored.",
        ),
        ("costs", "Costs", tables.cost_rows(run), report, "No costs were computed: no prices were given."),
        (
            "regressions",
            "Against earlier runs",
            tables.regression_rows(run),
            report,
            "No earlier run asked the same items.",
        ),
        ("judges", "Judge health", tables.judge_health_rows(run), report, "No judge was asked in this run."),
        ("funnel", "Funnel", funnel_with_reasons(run), results, "Curation did not get to its end."),
        (
            "divergent",
            f"Divergent answers, worst {MOST_DIVERGENT}",
            divergent,
            divergents,
            "No answer differs from production's.",
        ),
        (
            "decision",
            "Promotion checklist",
            tables.checklist_rows(run),
            report,
            "No candidate was surfaced, so there is no checklist.",
        ),
    ]
