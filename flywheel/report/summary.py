"""The run in a line, for a state message, and rows as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.findings.analysis import Analysis
from flywheel.report.escaping import markdown
from flywheel.report.numbers import score_text
from flywheel.report.tables import Row, primary_score
from flywheel.results import CandidateResult, Evaluation


def headline(results: Sequence[CandidateResult], analysis: Analysis | None = None) -> str:
    """ "2 of 3 candidates completed; partial: a; failed: b (why)." and the conclusion, else the best score."""
    completed = sum(result.status == "completed" for result in results)
    parts = [f"{completed} of {len(results)} candidates completed"]
    for status in ("partial", "failed", "cancelled", "pending"):
        named = [
            f"{result.candidate}" + (f" ({result.error})" if result.error else "")
            for result in results
            if result.status == status
        ]
        if named:
            parts.append(f"{status}: {', '.join(named)}")
    best = best_evaluation(results)
    if analysis and analysis.conclusion:
        parts.append(analysis.conclusion)
    elif best:
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


def markdown_table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; every cell is escaped."""
    if not rows:
        return "(nothing)"
    columns = list(rows[0])
    table = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    table += ["| " + " | ".join(markdown(str(row[column])) for column in columns) + " |" for row in rows]
    return "\n".join(table)
