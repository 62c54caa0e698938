"""How the answers of each evaluation came: times, tokens, errors, and why they ended."""

from __future__ import annotations

from flywheel.report.escaping import cell
from flywheel.report.numbers import UNKNOWN, figure, milliseconds
from flywheel.report.tables import Row, without_empty
from flywheel.results import EVAL_TYPES, RunResult, Usage

USAGE_TITLE = "How answers came (p50 / p95)"
FIRST_TOKEN = "time to first token"
"""Known only where answers were streamed."""
REUSED = "reused"
"""Answers of earlier runs, which have no times; only where such answers were allowed and there were any."""


def usage_rows(run: RunResult) -> list[Row]:
    """One row for each evaluation that was asked anything; p50 and p95 in one cell, with a slash between."""
    rows: list[Row] = [
        {"candidate": cell(candidate.candidate), "evaluation": evaluation.eval_type, **usage_cells(usage)}
        for candidate in run.candidates
        for evaluation in sorted(candidate.evaluations, key=lambda e: EVAL_TYPES.index(e.eval_type))
        if (usage := evaluation.usage).answered or usage.errors
    ]
    return without_empty(rows, FIRST_TOKEN, REUSED)


def usage_cells(usage: Usage) -> Row:
    """The cells of one evaluation."""
    return {
        "answers": usage.answered,
        REUSED: usage.reused or "",
        "errors": usage.errors,
        "latency": _both(milliseconds(usage.latency_ms_p50), milliseconds(usage.latency_ms_p95)),
        FIRST_TOKEN: _both(milliseconds(usage.ttft_ms_p50), milliseconds(usage.ttft_ms_p95)),
        "tokens in": _both(figure(usage.tokens_in_p50, 0), figure(usage.tokens_in_p95, 0)),
        "tokens out": _both(figure(usage.tokens_out_p50, 0), figure(usage.tokens_out_p95, 0)),
        "ended by": cell(", ".join(f"{name} {count}" for name, count in usage.finish_reasons.items())),
    }


def _both(median: str, high: str) -> str:
    return UNKNOWN if median == high == UNKNOWN else f"{median} / {high}"
