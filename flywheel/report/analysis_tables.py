"""Rows of what was concluded from a run: verdicts, differences, costs, regressions, judges, decisions, load tests."""

from __future__ import annotations

from flywheel.decisions import CHECKLIST, best_outcome, checklist_of, latest_decision, surfaced
from flywheel.findings.analysis import Verdict
from flywheel.report.escaping import cell
from flywheel.report.numbers import (
    UNKNOWN,
    days_range,
    difference_text,
    duration,
    figure,
    milliseconds,
    money,
    money_range,
    p_text,
    share,
    signed,
)
from flywheel.report.tables import Row, without_empty
from flywheel.results import RunResult

OUTCOMES = {"surfaced": "surfaced", "not_surfaced": "not surfaced", "cannot_tell": "cannot tell"}
ONE_FAMILY = "judge and candidate are of one family"
BY_PEOPLE = ("Cohen's κ with people", "corrected score")
"""Columns of a judge's health that need ratings by people."""
FIGURES = (
    "1,000 requests",
    "1,000 tokens",
    "test-time compute",
    "saves a month",
    "fine-tune",
    "paid back in",
)
"""Columns of costs that nobody can fill where prices are missing."""
AGAINST = {"last": "last comparable run", "best": "best so far"}


def verdict_rows(run: RunResult) -> list[Row]:
    """One row for each verdict: what was decided by which difference, and why."""
    return [
        {
            "candidate": cell(verdict.candidate),
            "evaluation": verdict.eval_type,
            "verdict": OUTCOMES[verdict.outcome],
            "score": _judged(verdict),
            "against production": difference_text(verdict.difference),
            "n": verdict.difference.n,
            "why": cell(verdict.reason, 500),
        }
        for verdict in (run.analysis.verdicts if run.analysis else ())
    ]


def comparison_rows(run: RunResult) -> list[Row]:
    """One row for each paired comparison of two evaluations."""
    return [
        {
            "first": cell(comparison.first),
            "second": cell(comparison.second),
            "metric": comparison.metric,
            "difference": difference_text(comparison.difference),
            "n": comparison.difference.n,
            "p": p_text(comparison.difference),
        }
        for comparison in (run.analysis.comparisons if run.analysis else ())
    ]


def ceiling_rows(run: RunResult) -> list[Row]:
    """How well production agrees with itself: more than this no candidate can be expected to reach."""
    sources = {
        "replayed": "production asked again",
        "teacher_noise": "repeated requests in the log",
        "assumed": "assumed; nothing measured",
    }
    return [
        {
            "metric": ceiling.metric,
            "ceiling": f"{ceiling.value:.3f}"
            + (f" [{ceiling.interval.low:.2f}, {ceiling.interval.high:.2f}]" if ceiling.interval else ""),
            "n": ceiling.n,
            "how known": sources[ceiling.source],
        }
        for ceiling in (run.analysis.ceilings if run.analysis else ())
    ]


def cost_rows(run: RunResult) -> list[Row]:
    """Money and test-time compute of each evaluation's way of answering, beside production.

    A figure that is known of none of them has no column; what it would take is in `missing`.
    """
    rows = [
        {
            "candidate": cell(cost.candidate),
            "evaluation": cost.eval_type,
            "1,000 requests": _beside(
                _thousand(cost.per_request, cost.currency),
                _thousand(cost.production_per_request, cost.currency),
            ),
            "1,000 tokens": _beside(
                money(cost.per_1k_tokens, cost.currency),
                money(cost.production_per_1k_tokens, cost.currency),
            ),
            "test-time compute": _beside(
                _compute(cost.test_time_compute), _compute(cost.production_test_time_compute)
            ),
            "saves a month": money_range(cost.monthly_savings, cost.currency),
            "fine-tune": money(cost.fine_tune, cost.currency),
            "paid back in": days_range(cost.break_even_days),
            "missing": cell(", ".join(cost.missing)),
        }
        for cost in (run.analysis.costs if run.analysis else ())
    ]
    return without_empty(rows, *FIGURES)


def regression_rows(run: RunResult) -> list[Row]:
    """Each score against earlier runs on the same items."""
    outcomes = {
        "regressed": "regressed",
        "improved": "improved",
        "no_difference_seen": "no difference seen",
    }
    return [
        {
            "candidate": cell(entry.candidate),
            "evaluation": entry.eval_type,
            "against": f"{AGAINST[entry.against]} ({cell(entry.run_id, 16)})",
            "then → now": f"{entry.then:.3f} → {entry.now:.3f}",
            "difference": difference_text(entry.difference),
            "outcome": outcomes[entry.outcome],
        }
        for entry in (run.analysis.regressions if run.analysis else ())
    ]


def judge_health_rows(run: RunResult) -> list[Row]:
    """How far each judge can be trusted, for each evaluation whose answers it judged, and what that took."""
    currency = _currency(run)
    rows = [
        {
            "candidate": cell(health.candidate),
            "evaluation": health.eval_type,
            "judge": cell(health.judge),
            "metric": health.metric,
            "judged": health.judged,
            "parse failures": _counted(health.parse_failures, health.judged),
            "no answer": _counted(health.no_answer, health.judged),
            "agrees with truth": _of(share(health.agreement), health.agreement_n),
            "flips when swapped": _of(share(health.flip_rate), health.flip_n),
            "length correlation": signed(health.length_correlation, 2),
            "Cohen's κ with people": _of(figure(health.kappa), health.kappa_n),
            "corrected score": figure(health.corrected, 3)
            + (
                f" [{health.corrected_interval.low:.2f}, {health.corrected_interval.high:.2f}]"
                if health.corrected_interval
                else ""
            ),
            "tokens in, out": f"{health.tokens_in:,}, {health.tokens_out:,}",
            "cost": money(health.cost, currency),
            "note": cell(" ".join(health.notes) or (ONE_FAMILY if health.same_family else ""), 600),
        }
        for health in (run.analysis.judge_health if run.analysis else ())
    ]
    return without_empty(rows, *BY_PEOPLE, "cost")


def kpi_rows(run: RunResult) -> list[Row]:
    """The figures that a lead follows from month to month."""
    if run.analysis is None:
        return []
    kpis = run.analysis.kpis
    currency = _currency(run)
    return [
        {"figure": "cost of 1,000 tokens before", "value": money(kpis.cost_per_1k_before, currency)},
        {"figure": "cost of 1,000 tokens after", "value": money(kpis.cost_per_1k_after, currency)},
        {"figure": "share of traffic with a workload id", "value": share(kpis.share_instrumented)},
        {"figure": "from data to candidate", "value": duration(kpis.turn_around_seconds)},
    ]


def checklist_rows(run: RunResult) -> list[Row]:
    """The promotion checklist of every surfaced candidate, and of those somebody has begun to decide of."""
    begun = {entry.candidate for entry in run.decisions}
    listed = [c.candidate for c in run.candidates if c.candidate in begun or c.candidate in surfaced(run)]
    return [
        {
            "candidate": cell(candidate),
            "point": point,
            "what": CHECKLIST[point],
            "state": "done" if done else "open",
        }
        for candidate in listed
        for point, done in checklist_of(run, candidate).items()
    ]


def decision_rows(run: RunResult) -> list[Row]:
    """Who decided what of each candidate, newest first."""
    return [
        {
            "candidate": cell(entry.candidate),
            "decision": entry.decision,
            "by": cell(entry.by, 80),
            "at": entry.at[:16].replace("T", " "),
            "open points": ", ".join(point for point, done in entry.checklist.items() if not done),
            "note": cell(entry.note, 500),
        }
        for entry in reversed(run.decisions)
    ]


def candidate_state_rows(run: RunResult) -> list[Row]:
    """One row a candidate: its best verdict and what a person decided."""
    rows = []
    for candidate in run.candidates:
        outcome = best_outcome(run, candidate.candidate)
        decision = latest_decision(run, candidate.candidate)
        rows.append(
            {
                "candidate": cell(candidate.candidate),
                "verdict": OUTCOMES[outcome] if outcome else "none",
                "decision": f"{decision.decision} by {cell(decision.by, 80)}" if decision else "none yet",
            }
        )
    return rows


def load_test_rows(run: RunResult) -> list[Row]:
    """Every load test of the run's candidates, newest first."""
    verdicts = {True: "met", False: "missed", None: "none given"}
    return [
        {
            "candidate": cell(test.candidate),
            "at": test.at[:16].replace("T", " "),
            "rate": f"{test.rate:g}/s for {test.seconds:g} s, {test.arrivals}",
            "sent": test.sent,
            "errors": f"{test.errors} ({share(test.error_share)})",
            "p50": milliseconds(test.latency_ms_p50),
            "p95": milliseconds(test.latency_ms_p95),
            "p99": milliseconds(test.latency_ms_p99),
            "target": verdicts[test.passed],
            "note": f"{test.late} sent late: this machine was the bottleneck" if test.late else "",
        }
        for test in reversed(run.load_tests)
    ]


def holdout_rows(run: RunResult) -> list[Row]:
    """Which items were asked, how often before, and what was kept out of training for their sake."""
    holdout = run.analysis.holdout if run.analysis else None
    if holdout is None:
        return []
    budget = "no bound" if holdout.budget is None else f"of {holdout.budget}"
    return [
        {
            "figure": "kept set",
            "value": cell(holdout.name) + (", new with this run" if holdout.renewed else ""),
        },
        {"figure": "first used", "value": (holdout.since or UNKNOWN)[:10]},
        {"figure": "items, and of new traffic", "value": f"{holdout.items} and {holdout.fresh_items}"},
        {"figure": "runs measured on it", "value": f"{holdout.uses} {budget}"},
        {"figure": "items the log does not hold any more", "value": str(holdout.not_in_log)},
        {"figure": "records held back from training", "value": str(holdout.held_back)},
    ]


def _currency(run: RunResult) -> str:
    return next((cost.currency for cost in run.analysis.costs), "USD") if run.analysis else "USD"


def _judged(verdict: Verdict) -> str:
    """The mean that was judged, items weighted as the settings say."""
    if verdict.score is None:
        return UNKNOWN
    interval = verdict.score_interval
    return f"{verdict.score:.3f}" + (f" [{interval.low:.2f}, {interval.high:.2f}]" if interval else "")


def _thousand(per_request: float | None, currency: str) -> str:
    return money(None if per_request is None else 1000 * per_request, currency)


def _compute(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f} token·s"


def _beside(ours: str, production: str) -> str:
    return UNKNOWN if ours == production == UNKNOWN else f"{ours} (production {production})"


def _counted(count: int, whole: int) -> str:
    return f"{count} ({share(count / whole if whole else None)})"


def _of(text: str, n: int) -> str:
    return text if text == UNKNOWN else f"{text} (n = {n})"
