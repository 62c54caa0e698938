"""Runs side by side: paired by item where both asked the same, else next to each other and said to be no more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from flywheel.evaluation.statistics import Difference, paired_difference
from flywheel.report.escaping import cell
from flywheel.report.numbers import UNKNOWN, milliseconds, score_text, signed
from flywheel.report.tables import Row, primary_score
from flywheel.results import CandidateResult, Evaluation, RunResult

Key = tuple[str, str]
"""Candidate and eval type."""


class ItemScores(NamedTuple):
    """Main scores of single items by id, and the cluster of each."""

    scores: Mapping[str, float | None]
    clusters: Mapping[str, str]


class Compared(NamedTuple):
    """One evaluation of one later run beside the baseline's. `difference` is None where they cannot be paired."""

    run_id: str
    candidate: str
    evaluation: Evaluation
    baseline: Evaluation | None
    difference: Difference | None


class Comparison(NamedTuple):
    """Every evaluation of every later run, and what a reader must know of them."""

    baseline: RunResult
    rows: list[Compared]
    notes: list[str]


def comparison_of(
    runs: Sequence[RunResult], scores: Mapping[str, Mapping[Key, ItemScores]], level: float = 0.95
) -> Comparison:
    """The first run is the baseline; an evaluation meets the one of the same candidate name and eval type."""
    baseline, *others = runs
    known = {(c.candidate, e.eval_type): e for c, e in _evaluations(baseline)}
    rows, notes = [], []
    for run in others:
        if (run.workload_id, run.client_id) != (baseline.workload_id, baseline.client_id):
            notes.append(
                f"{run.run_id} is about {run.workload_id} of {run.client_id}, {baseline.run_id} about "
                f"{baseline.workload_id} of {baseline.client_id}: their scores are of different work."
            )
        shared = 0
        for candidate, evaluation in _evaluations(run):
            key = (candidate.candidate, evaluation.eval_type)
            before = known.get(key)
            difference = None
            if before and before.primary == evaluation.primary:
                difference = _paired(scores[baseline.run_id].get(key), scores[run.run_id].get(key), level)
            shared = max(shared, difference.n if difference else 0)
            rows.append(Compared(run.run_id, candidate.candidate, evaluation, before, difference))
        if run.eval_set and run.eval_set == baseline.eval_set:
            notes.append(f"{run.run_id} and {baseline.run_id} asked the same items.")
        else:
            notes.append(
                f"{run.run_id} and {baseline.run_id} asked different sets of items, {shared} of them in both: only a "
                "difference over those says anything, the scores themselves do not compare."
            )
    return Comparison(baseline, rows, notes)


def comparison_table(compared: Comparison) -> list[Row]:
    """A row for each evaluation of each later run."""
    return [
        {
            "run": cell(row.run_id, 16),
            "candidate": cell(row.candidate),
            "evaluation": row.evaluation.eval_type,
            "score before": score_text(primary_score(row.baseline)) if row.baseline else UNKNOWN,
            "score": score_text(primary_score(row.evaluation)),
            "difference": _difference_text(row.difference),
            "n": row.difference.n if row.difference else 0,
            "latency p50": f"{milliseconds(row.baseline.usage.latency_ms_p50 if row.baseline else None)} → "
            f"{milliseconds(row.evaluation.usage.latency_ms_p50)}",
            "note": cell(row.evaluation.error or ""),
        }
        for row in compared.rows
    ]


def comparison_document(compared: Comparison) -> dict[str, Any]:
    """The same for programs."""
    return {
        "baseline": compared.baseline.run_id,
        "evaluations": [
            {
                "run_id": row.run_id,
                "candidate": row.candidate,
                "eval_type": row.evaluation.eval_type,
                "metric": row.evaluation.primary,
                "before": _value(row.baseline),
                "now": _value(row.evaluation),
                "difference": _finite(row.difference),
            }
            for row in compared.rows
        ],
        "notes": compared.notes,
    }


def _paired(before: ItemScores | None, now: ItemScores | None, level: float) -> Difference | None:
    if before is None or now is None:
        return None
    ids = sorted(before.scores.keys() & now.scores.keys())
    if not ids:
        return None
    return paired_difference(
        [now.scores[name] for name in ids],
        [before.scores[name] for name in ids],
        [now.clusters[name] for name in ids],
        level,
    )


def _evaluations(run: RunResult) -> list[tuple[CandidateResult, Evaluation]]:
    return [(candidate, evaluation) for candidate in run.candidates for evaluation in candidate.evaluations]


def _difference_text(difference: Difference | None) -> str:
    if difference is None or difference.value is None:
        return "not paired"
    interval = difference.interval
    shown = f" [{signed(interval.low, 2)}, {signed(interval.high, 2)}]" if interval else ""
    return signed(difference.value) + shown


def _value(evaluation: Evaluation | None) -> float | None:
    score = primary_score(evaluation) if evaluation else None
    return score.value if score else None


def _finite(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None or difference.value is None:
        return None
    document: dict[str, Any] = msgspec.to_builtins(difference)
    interval = difference.interval
    if interval and not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        document["interval"] = None
    return document
