"""Rows of the tables that a run shows, the same for the Prefect UI and the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from flywheel.findings.analysis import Analysis
from flywheel.report.escaping import cell
from flywheel.report.numbers import UNKNOWN, by_traffic_text
from flywheel.report.numbers import milliseconds as milliseconds
from flywheel.report.numbers import score_text as score_text
from flywheel.results import EVAL_TYPES, CandidateResult, Evaluation, RunResult, Score

Row = dict[str, Any]

BY_TRAFFIC = "by traffic"
"""Column of the score with each item counted as often as production was asked it."""

FUNNEL_LABELS = {
    "lines": "lines in the log",
    "out_of_scope": "other workloads, clients or times",
    "over_limit": "left out by the limit",
    "read": "read",
    "invalid": "invalid",
    "exact_duplicates": "exact duplicates",
    "near_duplicates": "near-duplicates",
    "held_back": "evaluated in earlier runs",
    "contradicted": "contradicted by another answer",
    "leaks_removed": "leaks removed",
    "train": "→ training",
    "validation": "→ validation",
    "evaluation": "→ evaluation",
    "erased": "erased on request (among the invalid)",
    "redacted": "records with personal data replaced",
    "redacted_email": "e-mail addresses replaced",
    "redacted_phone": "telephone numbers replaced",
    "redacted_card": "payment cards replaced",
    "redacted_ip": "IP addresses replaced",
    "redacted_key": "keys and tokens replaced",
    "redacted_name": "names replaced",
}


def funnel_rows(funnel: dict[str, int]) -> list[Row]:
    """One row for each step of curation: what it took out, what is left."""
    return [
        {"step": FUNNEL_LABELS[name], "records": funnel[name]}
        for name in FUNNEL_LABELS
        if name in funnel and (funnel[name] or name not in {"over_limit"})
    ]


def results_rows(run: RunResult) -> list[Row]:
    """One row for each evaluation of each candidate; scores with n, interval and unscored.

    Where items stand for unequally many calls, the score by traffic, which verdicts go by, has a column.
    """
    rows = []
    for candidate in run.candidates:
        if not candidate.evaluations:
            rows.append(_row_without_evaluation(candidate))
        for evaluation in sorted(candidate.evaluations, key=lambda e: EVAL_TYPES.index(e.eval_type)):
            rows.append(_evaluation_row(candidate, evaluation))
    return without_empty(rows, BY_TRAFFIC)


def all_scores_rows(run: RunResult) -> list[Row]:
    """One row for each metric of each evaluation; the score by traffic as in `results_rows`."""
    rows = [
        {
            "candidate": cell(candidate.candidate),
            "evaluation": evaluation.eval_type,
            "metric": metric,
            "score": score_text(score),
            BY_TRAFFIC: by_traffic_text(score),
            "n": score.n,
            "unscored": score.unscored,
        }
        for candidate in run.candidates
        for evaluation in candidate.evaluations
        for metric, score in sorted(evaluation.scores.items())
    ]
    return without_empty(rows, BY_TRAFFIC)


def traffic_remark(run: RunResult) -> str:
    """What the scores by traffic mean, and whether verdicts go by them; empty where there are none."""
    scores = (s for c in run.candidates for e in c.evaluations for s in e.scores.values())
    if not any(score.by_traffic for score in scores):
        return ""
    weighting = run.config.get("analysis_config", {}).get("weighting", "traffic")
    return (
        "By traffic: each item counts as often as production was asked it; the other score counts each once. "
        f"Verdicts go by {'the traffic' if weighting == 'traffic' else 'items'} (analysis_config.weighting)."
    )


def without_empty(rows: Sequence[Row], *columns: str) -> list[Row]:
    """The rows without those of these columns that hold nothing in any of them."""
    empty = {name for name in columns if all(row.get(name) in ("", UNKNOWN) for row in rows)}
    return [{name: value for name, value in row.items() if name not in empty} for row in rows]


def primary_metric_of(run: RunResult) -> str:
    """The metric that stands for the run's evaluations in tables; evaluations of one run are over the same items."""
    named = {e.primary for candidate in run.candidates for e in candidate.evaluations if e.primary}
    return ", ".join(sorted(named)) or "score"


def primary_score(evaluation: Evaluation) -> Score | None:
    """The score that stands for the evaluation in tables."""
    return evaluation.scores.get(evaluation.primary) if evaluation.primary else None


def _evaluation_row(candidate: CandidateResult, evaluation: Evaluation) -> Row:
    score = primary_score(evaluation)
    usage = evaluation.usage
    answered = max(1, usage.answered)
    return {
        "candidate": cell(candidate.candidate),
        "evaluation": evaluation.eval_type,
        "score": score_text(score),
        BY_TRAFFIC: by_traffic_text(score),
        "n": score.n if score else 0,
        "unscored": score.unscored if score else evaluation.items,
        "tokens in": round(usage.tokens_in / answered),
        "tokens out": round(usage.tokens_out / answered),
        "latency p50": milliseconds(usage.latency_ms_p50),
        "note": cell(evaluation.error or ""),
    }


def _row_without_evaluation(candidate: CandidateResult) -> Row:
    return {
        "candidate": cell(candidate.candidate),
        "evaluation": candidate.status,
        "score": UNKNOWN,
        BY_TRAFFIC: "",
        "n": 0,
        "unscored": 0,
        "tokens in": 0,
        "tokens out": 0,
        "latency p50": UNKNOWN,
        "note": cell(candidate.error or ""),
    }


def results_document(run: RunResult) -> list[dict[str, Any]]:
    """What `flywheel results RUN --json` prints: one entry a candidate, in a shape that other tools lean on."""
    return [
        {
            "model_name": candidate.model_name,
            "candidate": candidate.candidate,
            "status": candidate.status,
            "error": candidate.error,
            "evaluations": [_evaluation_document(evaluation) for evaluation in candidate.evaluations],
            "customization": _plain(candidate.customization),
            "conclusions": _conclusions_document(run, candidate.candidate),
        }
        for candidate in run.candidates
    ]


def _conclusions_document(run: RunResult, candidate: str) -> dict[str, Any]:
    """What was concluded of one candidate, with the ceilings that hold for all; an infinite bound becomes null."""
    analysis = run.analysis or Analysis()
    lists: dict[str, Sequence[Any]] = {
        "verdicts": analysis.verdicts,
        "costs": analysis.costs,
        "regressions": analysis.regressions,
        "judge_health": analysis.judge_health,
        "cascades": analysis.cascades,
        "trajectories": analysis.trajectories,
        "decisions": run.decisions,
        "load_tests": run.load_tests,
        "contradicted": analysis.contradicted,
    }
    own: dict[str, Any] = {
        name: [entry for entry in entries if entry.candidate == candidate] for name, entries in lists.items()
    }
    ways = {f"{candidate} {eval_type}" for eval_type in EVAL_TYPES}
    own["comparisons"] = [c for c in analysis.comparisons if ways & {c.first, c.second}]
    own["ceilings"] = list(analysis.ceilings)
    own["drift"] = analysis.drift
    return {name: _plain(entries) for name, entries in own.items()}


def _plain(value: Any) -> Any:
    """Typed data as what JSON has; an infinite number, or one that is none, becomes null."""
    return json.loads(json.dumps(msgspec.to_builtins(value)), parse_constant=lambda _: None)


def _evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "eval_type": evaluation.eval_type,
        "model": evaluation.model,
        "primary": evaluation.primary,
        "scores": {name: score.value for name, score in evaluation.scores.items()},
        "n": {name: score.n for name, score in evaluation.scores.items()},
        "unscored": {name: score.unscored for name, score in evaluation.scores.items()},
        "intervals": {
            name: {"low": score.interval.low, "high": score.interval.high, "level": score.interval.level}
            for name, score in evaluation.scores.items()
            if score.interval
        },
        "by_traffic": {
            name: msgspec.to_builtins(score.by_traffic)
            for name, score in evaluation.scores.items()
            if score.by_traffic
        },
        "tokens_in": evaluation.usage.tokens_in,
        "tokens_out": evaluation.usage.tokens_out,
        "latency_ms": {
            "mean": evaluation.usage.latency_ms_mean,
            "p50": evaluation.usage.latency_ms_p50,
            "p95": evaluation.usage.latency_ms_p95,
        },
        "usage": msgspec.to_builtins(evaluation.usage),
        "progress": evaluation.progress,
        "started_at": evaluation.started_at,
        "finished_at": evaluation.finished_at,
        "runtime_seconds": evaluation.runtime_seconds,
        "predictions": evaluation.predictions,
        "error": evaluation.error,
    }
