"""A run with everything that a report can show, and hostile text in every place where text from outside comes."""

from __future__ import annotations

from flywheel.evaluation.divergent import DivergentAnswer
from flywheel.findings.analysis import (
    Analysis,
    Bounds,
    Ceiling,
    Comparison,
    Costs,
    Decision,
    Difference,
    JudgeHealth,
    Kpis,
    LoadTest,
    Regression,
    Verdict,
)
from flywheel.findings.contradicted import Contradicted
from flywheel.findings.drift import Drift, Shift
from flywheel.findings.log_facts import LogFacts
from flywheel.report.evidence import AnswersOf, Evidence
from flywheel.results import (
    CandidateResult,
    Customization,
    EvalItem,
    EvalType,
    Evaluation,
    Interval,
    LossPoint,
    RunResult,
    Score,
    Usage,
)
from tests.unit.report.parts_of_a_run import HOSTILE as HOSTILE
from tests.unit.report.parts_of_a_run import METRIC as METRIC
from tests.unit.report.parts_of_a_run import cascades, trajectories

DRIFT = Drift(
    since="2026-01-01T00:00:00Z",
    calls_then=1000,
    calls_now=400,
    shifts=[
        Shift("answers", 0.31, 0.03, 0.001),
        Shift("contexts", 0.02, 0.01, 0.4),
        Shift("lengths", 0.1, 0.05, 0.2),
    ],
    uncovered_then=0.1,
    uncovered_now=0.12,
    moved=[(HOSTILE, 0.5, 0.19)],
    stale_from=0.2,
    stale_because=["answers"],
)


def evaluation(eval_type: EvalType, value: float) -> Evaluation:
    return Evaluation(
        eval_type=eval_type,
        model="m",
        primary=METRIC,
        scores={METRIC: Score(value, 40, 2, Interval(value - 0.1, min(1.0, value + 0.1)))},
        items=42,
        usage=Usage(
            answered=42,
            errors=1,
            tokens_in=4200,
            tokens_out=420,
            latency_ms_p50=300.0,
            latency_ms_p95=900.0,
            ttft_ms_p50=40.0,
            ttft_ms_p95=1200.0,
            tokens_in_p50=100,
            tokens_in_p95=130,
            finish_reasons={HOSTILE: 2, "stop": 40},
        ),
        predictions="file:///p/predictions.jsonl",
    )


def full_run() -> RunResult:
    tuned = Customization(
        job="j",
        status="completed",
        adapter="/jobs/j/adapter",
        train_loss=0.1,
        val_loss=0.2,
        train_rows=200,
        skipped_rows=1,
        tokens=9000,
        skipped={HOSTILE: 1},
        losses=[LossPoint(step, 2.0 / step, 2.1 / step if step % 10 == 0 else None) for step in range(1, 41)],
    )
    small = CandidateResult(
        "small",
        "org/small",
        "completed",
        [evaluation("base-eval", 0.3), evaluation("icl-eval", 0.5), evaluation("customized-eval", 0.9)],
        tuned,
    )
    broken = CandidateResult("broken", HOSTILE, "failed", error=HOSTILE)
    analysis = Analysis(
        drift=DRIFT,
        contradicted=[Contradicted("small", "base-eval", METRIC, 3, 42, 40, 3, 0.8, 0.865, None)],
        conclusion="small customized-eval is surfaced.",
        verdicts=[
            Verdict(
                "small",
                "customized-eval",
                METRIC,
                "surfaced",
                0.05,
                Difference(-0.01, 40, Bounds(-0.04, 0.02)),
                HOSTILE,
            ),
            Verdict(
                "small",
                "icl-eval",
                METRIC,
                "cannot_tell",
                0.05,
                Difference(-0.05, 40, Bounds(-0.1, 0.0)),
                "wide",
                120,
            ),
        ],
        comparisons=[
            Comparison(
                METRIC,
                "small customized-eval",
                "small base-eval",
                Difference(0.6, 40, Bounds(0.5, 0.7), 1e-6),
            )
        ],
        ceilings=[Ceiling(METRIC, 0.95, 30, "teacher_noise", Bounds(0.9, 0.99))],
        costs=[
            Costs(
                "small",
                "customized-eval",
                per_request=0.0001,
                per_1k_tokens=0.001,
                production_per_request=0.002,
                production_per_1k_tokens=0.02,
                monthly_savings=Bounds(100.0, 140.5),
                fine_tune=12.0,
                break_even_days=Bounds(2.0, float("inf")),
            ),
            Costs("small", "base-eval", missing=["price of org/small"]),
        ],
        regressions=[
            Regression(
                "small", "base-eval", METRIC, "last", "earlier", 0.4, 0.3, "regressed", Difference(-0.1, 40)
            )
        ],
        judge_health=[
            JudgeHealth(
                HOSTILE,
                "similarity",
                judged=40,
                parse_failures=2,
                agreement=0.9,
                agreement_n=37,
                flip_rate=0.15,
                flip_n=20,
                length_correlation=-0.31,
                same_family=True,
                kappa=0.62,
                kappa_n=12,
                corrected=0.553,
                corrected_interval=Bounds(0.41, 0.68),
                candidate="small",
                eval_type="icl-eval",
                no_answer=1,
                tokens_in=38_400,
                tokens_out=1_210,
                cost=0.27,
                notes=["judge and candidate are of one family", HOSTILE],
            )
        ],
        kpis=Kpis(0.02, 0.001, 0.98, 7200.0),
        notes=[HOSTILE],
        cascades=cascades(),
        trajectories=trajectories(),
    )
    return RunResult(
        run_id="run-1",
        workload_id=HOSTILE,
        client_id=HOSTILE,
        status="partial",
        started_at="2026-01-02T03:04:05+00:00",
        message=HOSTILE,
        production_model=HOSTILE,
        funnel={"lines": 400, "read": 380, "invalid": 10, "train": 300, "validation": 30, "evaluation": 40},
        candidates=[small, broken],
        config={"description": HOSTILE},
        analysis=analysis,
        log_facts=LogFacts(
            {"empty_answer": 7, "duplicate_id": 3},
            2,
            {HOSTILE: 2},
            repeated_requests=9,
            answered_differently=4,
        ),
        decisions=[
            Decision("small", "open", HOSTILE, "2026-01-03T00:00:00+00:00", HOSTILE, {"spot-check": True})
        ],
        load_tests=[
            LoadTest(
                candidate="small",
                endpoint="http://x/v1",
                model="m",
                at="2026-01-03T00:00:00+00:00",
                arrivals="poisson",
                rate=5.0,
                seconds=30.0,
                sent=150,
                answered=149,
                errors=1,
                late=0,
                latency_ms_p95=800.0,
                passed=True,
            )
        ],
    )


def divergent(name: str, kind: str, severity: float, weight: int = 1) -> DivergentAnswer:
    return DivergentAnswer(
        name,
        kind,
        severity,
        0.25,
        f"{HOSTILE} prompt {name}",
        f'track({{"id": "{HOSTILE}"}})',
        "cancel()",
        weight,
    )


def full_evidence() -> Evidence:
    item = EvalItem("i1", {"messages": [{"role": "user", "content": HOSTILE}]}, {"choices": []}, "c")
    answers = [
        AnswersOf(
            "small",
            eval_type,
            [10.0 * k for k in range(1, 41)],
            [100 + k for k in range(40)],
            [divergent("i1", "wrong tool", 5.5, 3), divergent("i2", "different text", 1.2)],
            "items.jsonl",
            "predictions.jsonl",
        )
        for eval_type in ("base-eval", "icl-eval", "customized-eval")
    ]
    return Evidence(
        answers=answers,
        items={"i1": item},
        certificate={"verdict": HOSTILE, "pairs": [HOSTILE]},
        missing=[HOSTILE],
    )
