"""The run in words: one line for a state message, one page of Markdown for the UI."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.report.escaping import markdown
from flywheel.report.tables import (
    Row,
    funnel_rows,
    primary_metric_of,
    primary_score,
    results_rows,
    score_text,
)
from flywheel.results import CandidateResult, Evaluation, RunResult


def headline(results: Sequence[CandidateResult]) -> str:
    """ "2 of 3 candidates completed; partial: a; failed: b (why)." and the best score there is."""
    completed = sum(result.status == "completed" for result in results)
    parts = [f"{completed} of {len(results)} candidates completed"]
    for status in ("partial", "failed", "cancelled"):
        named = [
            f"{result.candidate}" + (f" ({result.error})" if result.error else "")
            for result in results
            if result.status == status
        ]
        if named:
            parts.append(f"{status}: {', '.join(named)}")
    best = best_evaluation(results)
    if best:
        candidate, evaluation = best
        score = score_text(primary_score(evaluation))
        parts.append(f"best: {candidate.candidate} {evaluation.eval_type} {evaluation.primary} {score}")
    return "; ".join(parts)


def best_evaluation(results: Sequence[CandidateResult]) -> tuple[CandidateResult, Evaluation] | None:
    """The evaluation with the highest primary score; the earlier one in a tie."""
    best: tuple[float, CandidateResult, Evaluation] | None = None
    for result in results:
        for evaluation in result.evaluations:
            score = primary_score(evaluation)
            if score is None or score.value is None:
                continue
            if best is None or score.value > best[0]:
                best = (score.value, result, evaluation)
    return (best[1], best[2]) if best else None


def summary_markdown(run: RunResult) -> str:
    """What a person who opens the run should read first."""
    lines = [
        f"# {markdown(run.workload_id)}",
        "",
        f"Client {markdown(run.client_id)}, run `{run.run_id}`, **{run.status}**. {markdown(run.message)}",
        "",
        f"Reference answers: the production model {markdown(run.production_model or 'unknown')}. The score is "
        f"`{primary_metric_of(run)}`, the agreement with its answers on held-out items, with its interval; unscored "
        "items are not zeros.",
        "",
        "## Results",
        "",
        markdown_table(results_rows(run)),
        "",
        "## Where the records went",
        "",
        markdown_table(funnel_rows(run.funnel)),
        "",
        "## Before anybody acts on this",
        "",
        "- Look at the divergent answers: a high score says nothing about what is wrong in the rest.",
        "- Compare tokens × latency, not scores alone: a smaller model may write longer answers.",
        "- Nothing has been promoted or deployed, and nothing will be: that is a person's decision.",
        "",
    ]
    return "\n".join(lines)


def markdown_table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; every cell is escaped."""
    if not rows:
        return "(nothing)"
    columns = list(rows[0])
    table = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    table += ["| " + " | ".join(markdown(str(row[column])) for column in columns) + " |" for row in rows]
    return "\n".join(table)
