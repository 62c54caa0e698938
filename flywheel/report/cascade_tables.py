"""Rows of what a candidate could take if the rest went back to production, and of whole conversations."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.findings.bounds import Bounds
from flywheel.findings.cascades import Cascade
from flywheel.findings.trajectories import ShareOf, Trajectories
from flywheel.report.escaping import cell
from flywheel.report.numbers import UNKNOWN, figure, money, share
from flywheel.report.tables import Row, without_empty
from flywheel.results import RunResult

CASCADES_TITLE = "Share of the traffic that a candidate could take"
CASCADES_REMARK = (
    "If a router kept the requests whose signal is best with the candidate and handed the rest back to production: how "
    "much could it keep so that what is kept is surely not worse by more than the margin? Cuts are measured on items "
    "that they were not chosen on. This sizes an opportunity; nothing is routed, and there is no router."
)
TRAJECTORIES_TITLE = "Whole conversations"
TRAJECTORIES_REMARK = (
    "Conversations of which two steps or more were asked, each counted once. Every step is asked with production's "
    "history: up to the first divergence this is the way that the candidate would have gone, behind it it is not."
)
OUTCOMES = {
    "useful": "useful cut",
    "everything": "no cut needed",
    "no_useful_cut": "no useful cut",
    "too_few": "too few items",
}
COST = "1,000 requests"


def cascade_rows(run: RunResult) -> list[Row]:
    """One row for each signal of each evaluation: what could be kept, how good that is, and why no more."""
    currency = cascade_currency(run)
    return without_empty(
        [
            {
                "candidate": cell(cascade.candidate),
                "evaluation by signal": f"{cascade.eval_type} by {cascade.signal}",
                "result": OUTCOMES[cascade.outcome],
                "could keep": _kept(cascade),
                "score of that": _quality(cascade),
                COST: _cost(cascade, run, currency),
                "n": cascade.n,
                "unscored": cascade.unscored,
                "why": cell(cascade.reason, 500)
                + (f" Kept: {cell(cascade.cut, 500)}." if cascade.cut else ""),
            }
            for cascade in (run.analysis.cascades if run.analysis else ())
        ],
        COST,
    )


def curve_rows(cascades: Sequence[Cascade], currency: str) -> list[Row]:
    """The points of several curves, for who cannot see a picture of them."""
    rows = [
        {
            "signal": cascade.signal,
            "share kept": share(point.share),
            "score": figure(point.quality, 3) + _interval(point.interval),
            COST: money(None if point.cost_per_request is None else 1000 * point.cost_per_request, currency),
        }
        for cascade in cascades
        for point in cascade.points
    ]
    return without_empty(rows, COST)


def trajectory_rows(run: RunResult) -> list[Row]:
    """One row for each evaluation that asked whole conversations."""
    rows = [
        {
            "candidate": cell(one.candidate),
            "evaluation": one.eval_type,
            "every step agrees": _share_of(one.all_agree),
            "n": one.all_agree.n,
            "unscored": one.all_agree.unscored,
            "steps before the first divergence": _share_of(one.agreeing)
            + f"; {figure(one.agreeing_steps, 1)} of {one.steps / one.conversations:.1f}",
            "first divergence at step": _first(one),
            "calls in order": _share_of(one.calls_in_order),
            "calls in any order": _share_of(one.calls_any_order),
            "step agrees by": one.metric,
        }
        for one in (run.analysis.trajectories if run.analysis else ())
    ]
    return without_empty(rows, "calls in order", "calls in any order")


def cascade_currency(run: RunResult) -> str:
    """The currency of the run's costs."""
    return next((cost.currency for cost in run.analysis.costs), "USD") if run.analysis else "USD"


def _kept(cascade: Cascade) -> str:
    if cascade.outcome not in ("useful", "everything") or cascade.chosen is None:
        return UNKNOWN
    interval = cascade.chosen_share
    return share(cascade.chosen.share) + (
        f" [{100 * interval.low:.0f}, {100 * interval.high:.0f}]" if interval else ""
    )


def _quality(cascade: Cascade) -> str:
    if cascade.chosen is None:
        return UNKNOWN
    return figure(cascade.chosen.quality, 3) + _interval(cascade.chosen.interval)


def _cost(cascade: Cascade, run: RunResult, currency: str) -> str:
    """Beside what production alone costs."""
    if cascade.outcome not in ("useful", "everything") or cascade.chosen is None:
        return UNKNOWN
    cost = cascade.chosen.cost_per_request
    if cost is None or run.analysis is None:
        return UNKNOWN
    alone = next(
        (
            costs.production_per_request
            for costs in run.analysis.costs
            if (costs.candidate, costs.eval_type) == (cascade.candidate, cascade.eval_type)
        ),
        None,
    )
    beside = f" (production {money(1000 * alone, currency)})" if alone is not None else ""
    return money(1000 * cost, currency) + beside


def _first(one: Trajectories) -> str:
    told = [f"{step}: {count}" for step, count in enumerate(one.first_divergence, 1) if count]
    return cell(", ".join(told), 200) or UNKNOWN


def _share_of(one: ShareOf | None) -> str:
    return UNKNOWN if one is None or one.value is None else figure(one.value, 3) + _interval(one.interval)


def _interval(interval: Bounds | None) -> str:
    return f" [{interval.low:.2f}, {interval.high:.2f}]" if interval else ""
