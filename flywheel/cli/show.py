"""A run on the terminal: funnel, results, divergent answers, where things are, what to type next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flywheel.cli.terminal import console, emit_json, plain

if TYPE_CHECKING:
    from rich.console import Console

    from flywheel.config import ConnectionsConfig
    from flywheel.results import RunResult


def show_run(
    run: RunResult,
    connections: ConnectionsConfig,
    *,
    as_json: bool,
    most_divergent: int,
    all_scores: bool = False,
    limit: str = "",
) -> None:
    """Print one run: for programs the results document, for people the whole story.

    Args:
        limit: What limited the throughput, where the run went on here and that was measured.
    """
    from flywheel.report.refusals import log_remarks
    from flywheel.report.tables import (
        all_scores_rows,
        funnel_rows,
        primary_metric_of,
        results_document,
        results_rows,
        traffic_remark,
    )
    from flywheel.report.usage import USAGE_TITLE, usage_rows

    if as_json:
        emit_json(results_document(run))
        return
    screen = console()
    print_table(screen, f"Where the records of {run.workload_id} went", funnel_rows(run.funnel))
    for remark in log_remarks(run):
        screen.print(plain(remark), soft_wrap=True)
    _print_analysis(screen, run)
    reference = run.production_model or "the production model"
    print_table(screen, f"{primary_metric_of(run)}: agreement with {reference}", results_rows(run))
    if remark := traffic_remark(run):
        screen.print(f"{remark}\n", soft_wrap=True)
    if all_scores:
        print_table(screen, "All scores", all_scores_rows(run))
        print_table(screen, USAGE_TITLE, usage_rows(run))
        _print_parts(screen, run)
    throughput = throughput_lines(run)
    for line in [*throughput, limit] if throughput and limit else throughput:
        screen.print(plain(line))
    if most_divergent:
        _print_divergent(screen, run, connections, most_divergent)
    _print_next_steps(screen, run, connections)


def print_table(screen: Console, title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Rows as a table that fits the screen; without boxes, so that lines stay whole in a log file."""
    from rich import box
    from rich.table import Table

    from flywheel.cli.table_layout import GAP, is_number, layout

    if not rows:
        screen.print(plain(f"{title}: nothing yet"))
        return
    found = layout(rows, screen.width)
    table = Table(title=plain(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.show_edge, table.padding = False, (0, GAP - 1, 0, 0)  # the box's own divider is a blank
    for name in found.columns:
        table.add_column(name, justify="right" if is_number(name) else "left", overflow="fold")
    for cells in found.cells:
        table.add_row(*cells)
    screen.print(table)
    for line in found.below:
        screen.print(line, soft_wrap=True)
    screen.print()


def throughput_lines(run: RunResult) -> list[str]:
    """How fast this machine trained and answered, and the rows that no training saw."""
    lines = []
    for candidate in run.candidates:
        tuned = candidate.customization
        if tuned and tuned.status == "completed":
            lines += [f"{candidate.candidate}: {remark}" for remark in tuned.remarks]
        if tuned and tuned.skipped_rows:
            reasons = "; ".join(f"{count}: {reason}" for reason, count in tuned.skipped.items())
            lines.append(
                f"{candidate.candidate}: {tuned.skipped_rows} rows were left out of the training"
                + (f" ({reasons})" if reasons else "")
            )
        if tuned and tuned.runtime_seconds and tuned.tokens:
            lines.append(
                f"{candidate.candidate}: trained {tuned.train_rows} rows, {tuned.tokens} tokens in "
                f"{tuned.runtime_seconds:.0f} s = {tuned.tokens / tuned.runtime_seconds:.0f} tokens/s"
                + (f", validation loss {tuned.val_loss:.3f}" if tuned.val_loss is not None else "")
            )
        for evaluation in candidate.evaluations:
            seconds, usage = evaluation.runtime_seconds, evaluation.usage
            if seconds and usage.answered:
                lines.append(
                    f"{candidate.candidate} {evaluation.eval_type}: {usage.answered} answers in {seconds:.0f} s = "
                    f"{usage.tokens_in / seconds:.0f} prompt and {usage.tokens_out / seconds:.0f} answer tokens/s"
                )
    return lines


def _print_analysis(screen: Console, run: RunResult) -> None:
    """Verdicts first, then what stands behind them; what a run has none of is left out."""
    from flywheel.report import analysis_tables as tables
    from flywheel.report.contradicted import CONTRADICTED_TITLE, contradicted_rows
    from flywheel.report.drift import DRIFT_TITLE, drift_rows

    for title, rows in (
        ("Verdicts", tables.verdict_rows(run)),
        ("Evaluations against each other, on the same items", tables.comparison_rows(run)),
        ("Production's agreement with itself", tables.ceiling_rows(run)),
        ("Costs", tables.cost_rows(run)),
        ("Figures to follow", tables.kpi_rows(run)),
        ("Against earlier runs, on the same items", tables.regression_rows(run)),
        (CONTRADICTED_TITLE, contradicted_rows(run)),
        (DRIFT_TITLE, drift_rows(run)),
        ("Judge health", tables.judge_health_rows(run)),
        ("Load tests", tables.load_test_rows(run)),
        ("Promotion checklist", tables.checklist_rows(run)),
        ("Decisions", tables.decision_rows(run)),
    ):
        if rows:
            print_table(screen, title, rows)


def _print_parts(screen: Console, run: RunResult) -> None:
    """What part of the traffic a candidate could take, and how far it goes in whole conversations."""
    from flywheel.report import cascade_tables as tables

    for title, rows, remark in (
        (tables.TRAJECTORIES_TITLE, tables.trajectory_rows(run), tables.TRAJECTORIES_REMARK),
        (tables.CASCADES_TITLE, tables.cascade_rows(run), tables.CASCADES_REMARK),
    ):
        if rows:
            print_table(screen, title, rows)
            screen.print(f"{remark}\n", soft_wrap=True)


def _print_divergent(screen: Console, run: RunResult, connections: ConnectionsConfig, most: int) -> None:
    rows = asyncio.run(_divergent(run, connections, most))
    if not rows:
        return
    from flywheel.report.commands import command

    more = command(f"divergent {run.run_id}", connections.model_dump())
    screen.print(f"\nDivergent answers, worst {len(rows)} (more: {more})")
    for row in rows:
        screen.print(plain(f"\n  [{row['candidate']} {row['evaluation']}] {row['difference']}"))
        for label in ("prompt", "reference answer", "candidate's answer"):
            screen.print(plain(f"    {label}: {row[label]}"), soft_wrap=True)


async def _divergent(run: RunResult, connections: ConnectionsConfig, most: int) -> list[dict[str, Any]]:
    from blocks.connections import open_dataset_store
    from tasks.concluding.divergent import divergent_table

    if "datasets" not in run.datasets:
        return []
    return divergent_table(run, await open_dataset_store(connections), most=most)


def _print_next_steps(screen: Console, run: RunResult, connections: ConnectionsConfig) -> None:
    from blocks.connections import home_directory
    from flywheel.report.commands import command
    from flywheel.report.evaluation_set import remarks
    from flywheel.report.next_steps import beside_conclusion, conclusion, next_steps

    home, found_in = home_directory(connections), connections.model_dump()
    screen.print(plain(f"\nRun {run.run_id}: {run.status}. {beside_conclusion(run)}".rstrip()))
    screen.print(plain(conclusion(run)))
    for remark in remarks(run):
        screen.print(plain(remark))
    for step in next_steps(run, found_in):
        screen.print(plain(f"  - {step.text}"))
        if step.command:
            screen.print(plain(f"      {step.command}"))
    history = f"history in {'runs.sqlite' if connections.run_store == 'embedded' else connections.run_store}"
    at_home = connections.dataset_store == "embedded"
    datasets = f"datasets and predictions in {'datasets/' if at_home else connections.dataset_store}"
    screen.print(plain(f"Kept in {home}: {history}, {datasets}."))
    screen.print("Look further:")
    for words, what in ((f"results {run.run_id}", "every score of this run"), ("runs", "history")):
        screen.print(plain(f"  {command(words, found_in)}    {what}"))
    screen.print("  prefect server start             then open the run and its artifacts in the browser")
