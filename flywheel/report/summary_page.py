"""The page of Markdown that a person who opens a run should read first."""

from __future__ import annotations

from flywheel.naming import slug_of
from flywheel.report.analysis_tables import cost_rows, kpi_rows, regression_rows, verdict_rows
from flywheel.report.cascade_tables import (
    CASCADES_REMARK,
    CASCADES_TITLE,
    TRAJECTORIES_REMARK,
    TRAJECTORIES_TITLE,
    cascade_rows,
    trajectory_rows,
)
from flywheel.report.commands import command
from flywheel.report.contradicted import CONTRADICTED_TITLE, contradicted_rows
from flywheel.report.drift import DRIFT_TITLE, drift_rows
from flywheel.report.escaping import code, markdown
from flywheel.report.evaluation_set import remarks
from flywheel.report.next_steps import beside_conclusion, conclusion, next_steps
from flywheel.report.refusals import REFUSALS_TITLE, log_remarks, refusal_rows
from flywheel.report.summary import markdown_table
from flywheel.report.tables import funnel_rows, primary_metric_of, results_rows, traffic_remark
from flywheel.report.usage import USAGE_TITLE, usage_rows
from flywheel.results import RunResult

MOST_ROWS = 40


def summary_markdown(run: RunResult, picture: str = "") -> str:
    """What the run comes to, what to do now, and the tables behind it.

    Args:
        run: A run that has ended.
        picture: A chart as Markdown, made by us: it is not escaped.
    """
    found_in = run.config.get("connections")
    lines = [
        f"# {markdown(run.workload_id)}",
        "",
        f"**{markdown(conclusion(run))}**",
        "",
        f"Client {markdown(run.client_id)}, run `{run.run_id}`, {run.status}. {markdown(beside_conclusion(run))}",
        "",
        "## What to do now",
        "",
        *(f"- {markdown(text)}" + (f" {code(typed)}" if typed else "") for text, typed in next_steps(run)),
        "",
        "## Verdicts",
        "",
        markdown_table(verdict_rows(run)[:MOST_ROWS])
        if run.analysis and run.analysis.verdicts
        else "No verdict was reached in this run: nothing says whether a candidate is as good as production.",
        "",
        "## Results",
        "",
        f"Reference answers: the production model {markdown(run.production_model or 'unknown')}. The score is "
        f"`{primary_metric_of(run)}`, the agreement with its answers on held-out items, with its interval; unscored "
        "items are not zeros.",
        "",
        *([picture, ""] if picture else []),
        markdown_table(results_rows(run)[:MOST_ROWS]),
        "",
        *(f"- {markdown(remark)}" for remark in [traffic_remark(run), *remarks(run)] if remark),
        "",
        *_section(USAGE_TITLE, usage_rows(run)),
        *_section(TRAJECTORIES_TITLE, trajectory_rows(run), TRAJECTORIES_REMARK),
        *_section(CASCADES_TITLE, cascade_rows(run), CASCADES_REMARK),
        *_section("Costs", cost_rows(run)),
        *_section("Figures to follow", kpi_rows(run)),
        *_section("Against earlier runs", regression_rows(run)),
        *_section(CONTRADICTED_TITLE, contradicted_rows(run)),
        *_section(DRIFT_TITLE, drift_rows(run)),
        "## Where the records went",
        "",
        markdown_table(funnel_rows(run.funnel)),
        "",
        *(f"- {markdown(remark)}" for remark in log_remarks(run)),
        *([""] if log_remarks(run) else []),
        *_section(REFUSALS_TITLE, refusal_rows(run)),
        "## Before anybody acts on this",
        "",
        "- Look at the divergent answers: a high score says nothing about what is wrong in the rest. The artifact "
        f"`divergent-{slug_of(run.workload_id, run.client_id)}` has the worst with their items; one of them in full: "
        f"`{command(f'divergent {run.run_id} --item ITEM', found_in)}`.",
        "- Compare tokens × latency, not scores alone: a smaller model may write longer answers.",
        "- Nothing has been promoted or deployed, and nothing will be: that is a person's decision.",
        f"- Everything on one page, with charts: `{command(f'report {run.run_id}', found_in)}`.",
        "",
    ]
    return "\n".join(lines)


def _section(title: str, rows: list[dict[str, object]], remark: str = "") -> list[str]:
    words = [remark, ""] if remark else []
    return [f"## {title}", "", *words, markdown_table(rows[:MOST_ROWS]), ""] if rows else []
