"""Runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flywheel.report.escaping import cell
from flywheel.report.summary import best_evaluation
from flywheel.report.tables import Row, primary_score, score_text
from flywheel.results import RunResult


def history_rows(runs: Sequence[RunResult]) -> list[Row]:
    """One row a run: when, what, how it ended, and its best score."""
    return [_row(run) for run in runs]


def _row(run: RunResult) -> Row:
    best = best_evaluation(run.candidates)
    found = f"{best[0].candidate} {best[1].eval_type} {score_text(primary_score(best[1]))}" if best else "–"
    return {
        "run": run.run_id,
        "started": run.started_at[:16].replace("T", " "),
        "workload": cell(run.workload_id, 40),
        "client": cell(run.client_id, 30),
        "status": run.status,
        "candidates": len(run.candidates),
        "best": cell(found),
    }


def history_document(runs: Sequence[RunResult]) -> list[dict[str, Any]]:
    """The same for programs, without the settings and the single evaluations."""
    return [
        {
            "run_id": run.run_id,
            "workload_id": run.workload_id,
            "client_id": run.client_id,
            "status": run.status,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
            "message": run.message,
            "funnel": run.funnel,
            "datasets": run.datasets,
            "candidates": [{"candidate": c.candidate, "status": c.status} for c in run.candidates],
        }
        for run in runs
    ]
