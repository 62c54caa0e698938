"""Which workloads a sweep runs, in what order, and what it leaves out and why.

The order is by expected savings: what the last run found, else what production costs at the log's traffic. Savings
cannot exceed that cost, so it is an upper bound; where no price is known, tokens stand for money.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from flywheel.config.sweep import SweepConfig

Reason = Literal[
    "no_workload_id", "no_client_id", "excluded", "under_way", "still_fresh", "too_few_records", "most_runs"
]
Basis = Literal["last run", "cost of production", "tokens"]


class Workload(msgspec.Struct, frozen=True):
    """One workload of one client as a sweep finds it.

    `fresh` counts the records since the last run with results, at least as far as it matters. `savings` is what the
    last run found for its best surfaced candidate, per month; `tokens_per_month` and `price_per_1k` are production's.
    `stale` says why its evaluation set does not stand for its traffic any more, empty where it does or nobody looked;
    `stale_from` is the share of other traffic from which that is said.
    """

    workload_id: str | None
    client_id: str | None
    records: int
    fresh: int
    evaluated_at: datetime | None = None
    under_way: bool = False
    savings: float | None = None
    tokens_per_month: float | None = None
    price_per_1k: float | None = None
    stale: str = ""
    stale_from: float | None = None


class Chosen(msgspec.Struct, frozen=True):
    """A workload that gets a run. `expected` is in money, or in thousands of tokens where `basis` says so.

    `stale` says why its evaluation set is to be renewed, and `stale_from` from when on it is; empty where it is not.
    """

    workload_id: str
    client_id: str
    records: int
    expected: float
    basis: Basis
    stale: str = ""
    stale_from: float | None = None


class Skipped(msgspec.Struct, frozen=True):
    """A workload that gets none; `why` is a sentence with the numbers."""

    workload_id: str | None
    client_id: str | None
    records: int
    reason: Reason
    why: str


class Coverage(msgspec.Struct, frozen=True):
    """How far the flywheel reaches. `None` where there is nothing to take a share of."""

    records: int
    records_with_workload: int
    workloads: int
    workloads_evaluated: int

    @property
    def traffic_share(self) -> float | None:
        """Share of the logged calls that name their workload."""
        return self.records_with_workload / self.records if self.records else None

    @property
    def evaluated_share(self) -> float | None:
        """Share of the workloads that have ever been evaluated."""
        return self.workloads_evaluated / self.workloads if self.workloads else None


class SweepPlan(msgspec.Struct, frozen=True):
    """What a sweep does: `chosen` in the order of their starts."""

    chosen: list[Chosen]
    skipped: list[Skipped]
    coverage: Coverage


def plan_sweep(
    workloads: Sequence[Workload], settings: SweepConfig, now: datetime, excluded: Collection[str] = ()
) -> SweepPlan:
    """Choose among the workloads; every one of them is in the plan once, chosen or skipped."""
    chosen: list[Chosen] = []
    skipped: list[Skipped] = []
    known_prices = sorted(w.price_per_1k for w in workloads if w.price_per_1k is not None)
    price = settings.production_price_per_1k
    if price is None and known_prices:
        price = known_prices[len(known_prices) // 2]
    for workload in workloads:
        skip = _reason_to_skip(workload, settings, now, excluded)
        if skip is None:
            chosen.append(_chosen(workload, price))
        else:
            skipped.append(skip)
    # Tokens are not money: who has no price at all comes after those who have one.
    chosen.sort(key=lambda c: (c.basis == "tokens", -c.expected, -c.records, c.workload_id, c.client_id))
    for late in chosen[settings.most_runs :]:
        why = f"{settings.most_runs} workloads with higher expected savings go first (most_runs)."
        skipped.append(Skipped(late.workload_id, late.client_id, late.records, "most_runs", why))
    return SweepPlan(chosen[: settings.most_runs], skipped, coverage_of(workloads))


def coverage_of(workloads: Sequence[Workload]) -> Coverage:
    """How far the log is instrumented, and how far its workloads are evaluated."""
    named = [w for w in workloads if w.workload_id is not None]
    return Coverage(
        records=sum(w.records for w in workloads),
        records_with_workload=sum(w.records for w in named),
        workloads=len(named),
        workloads_evaluated=sum(w.evaluated_at is not None for w in named),
    )


def _reason_to_skip(
    workload: Workload, settings: SweepConfig, now: datetime, excluded: Collection[str]
) -> Skipped | None:
    def skipped(reason: Reason, why: str) -> Skipped:
        return Skipped(workload.workload_id, workload.client_id, workload.records, reason, why)

    if workload.workload_id is None:
        return skipped("no_workload_id", "These calls name no workload; log workload_id with each call.")
    if workload.client_id is None:
        return skipped("no_client_id", "These calls name no client; log client_id with each call.")
    if workload.workload_id in excluded:
        return skipped("excluded", "It is listed in the variable flywheel_excluded_workloads.")
    if workload.under_way:
        return skipped("under_way", "A run of it is under way.")
    if workload.stale:
        return None
    if workload.evaluated_at is not None:
        age = now - workload.evaluated_at
        if age < timedelta(days=settings.fresh_days):
            days = age.total_seconds() / 86_400
            return skipped(
                "still_fresh",
                f"Its evaluation is {days:.1f} days old and counts as fresh for {settings.fresh_days:g} (fresh_days).",
            )
    if workload.fresh < settings.min_fresh_records:
        since = "since its last run" if workload.evaluated_at is not None else "in the log"
        return skipped(
            "too_few_records",
            f"It has {workload.fresh} records {since}, and min_fresh_records is {settings.min_fresh_records}.",
        )
    return None


def _chosen(workload: Workload, price: float | None) -> Chosen:
    thousands = (workload.tokens_per_month or 0.0) / 1000
    own_price = workload.price_per_1k if workload.price_per_1k is not None else price
    basis: Basis
    if workload.savings is not None:
        expected, basis = workload.savings, "last run"
    elif own_price is not None:
        expected, basis = thousands * own_price, "cost of production"
    else:
        expected, basis = thousands, "tokens"
    return Chosen(
        workload_id=workload.workload_id or "",
        client_id=workload.client_id or "",
        records=workload.records,
        expected=expected,
        basis=basis,
        stale=workload.stale,
        stale_from=workload.stale_from,
    )
