"""Runs, verdicts of judges and resources to store."""

from __future__ import annotations

import math
from typing import Any

from blocks.ports import LedgerEntry
from flywheel.results import (
    CandidateResult,
    Customization,
    Evaluation,
    Interval,
    JudgeRun,
    RunResult,
    Score,
    Usage,
)


def evaluation(**fields: Any) -> Evaluation:
    scores = {
        "exact_match": Score(value=0.5, n=18, unscored=2, interval=Interval(0.29, 0.71)),
        "rouge_l": Score(value=None, n=0, unscored=20),
        "one_item": Score(value=1.0, n=1, unscored=0, interval=Interval(-math.inf, math.inf)),
    }
    values: dict[str, Any] = {
        "eval_type": "base-eval",
        "model": "small",
        "primary": "exact_match",
        "scores": scores,
        "items": 20,
        "usage": Usage(answered=18, errors=2, tokens_in=4000, latency_ms_p95=812.5),
        "progress": 1.0,
        "overrides": {"temperature": 0.0, "stop": ["\n"]},
        "predictions": "predictions-0123456789abcdef",
    }
    return Evaluation(**values | fields)


def run(run_id: str = "run-1", started_at: str = "2025-09-01T10:00:00Z", **fields: Any) -> RunResult:
    tuned = CandidateResult(
        candidate="small-tuned",
        model_name="small",
        status="completed",
        evaluations=[evaluation(), evaluation(eval_type="customized-eval", model="small/tuned")],
        customization=Customization(job="job-1", status="completed", train_loss=0.1, adapter="adapters/1"),
    )
    failed = CandidateResult(
        candidate="broken", model_name="missing", status="failed", error="404: no such model"
    )
    values: dict[str, Any] = {
        "run_id": run_id,
        "workload_id": "support-router",
        "client_id": "acme-web",
        "status": "partial",
        "started_at": started_at,
        "message": "1 of 2 candidates scored",
        "funnel": {"lines": 800, "train": 300},
        "datasets": {"split": "split-0123456789abcdef"},
        "candidates": [tuned, failed],
        "config": {
            "data_split_config": {"eval_size": 20, "limit": None},
            "text": "Grüße \ud83d \x00 \x1b[31m",
        },
    }
    return RunResult(**values | fields)


def scored(
    run_id: str, day: int, value: float | None, *, eval_set: str = "set-a", **fields: Any
) -> RunResult:
    """A completed run of one candidate with one evaluation whose primary score is `value`."""
    score = Score(value=value, n=20, unscored=0, interval=Interval(0.0, 1.0))
    result = CandidateResult(
        candidate="small",
        model_name="small",
        status="completed",
        evaluations=[evaluation(scores={"exact_match": score})],
    )
    values = {"status": "completed", "candidates": [result], "eval_set": eval_set} | fields
    return run(run_id, started_at=f"2025-09-{day:02d}T10:00:00+00:00", **values)


def judged(judge_id: str = "judged-1", **fields: Any) -> JudgeRun:
    values: dict[str, Any] = {
        "id": judge_id,
        "run_id": "run-1",
        "candidate": "small-tuned",
        "eval_type": "base-eval",
        "judge": "large-judge",
        "created_at": "2025-09-01T12:00:00Z",
        "scores": {"similarity": Score(value=0.8, n=20, unscored=0, interval=Interval(0.7, math.inf))},
        "details": {"prompt": "Grüße \ud83d"},
    }
    return JudgeRun(**values | fields)


def entry(name: str = "fw-1", **fields: Any) -> LedgerEntry:
    values: dict[str, Any] = {
        "run_id": "run-1",
        "kind": "deployment",
        "name": name,
        "platform": "local",
        "created_at": "2025-09-01T10:00:00Z",
        "details": {"port": 8000},
    }
    return LedgerEntry(**values | fields)
