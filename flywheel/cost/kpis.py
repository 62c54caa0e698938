"""The figures that a lead asks for: cost per 1,000 tokens before and after, traffic instrumented, turn-around."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flywheel.findings.analysis import Costs, Kpis, Verdict


def kpis_of(
    costs: Sequence[Costs],
    verdicts: Sequence[Verdict],
    started_at: str,
    finished_at: str,
    share_instrumented: float | None = None,
) -> Kpis:
    """After is the cheapest way that was surfaced; where none was, there is no after. Times are ISO 8601."""
    surfaced = {(v.candidate, v.eval_type) for v in verdicts if v.outcome == "surfaced"}
    after = [
        cost.per_1k_tokens
        for cost in costs
        if (cost.candidate, cost.eval_type) in surfaced and cost.per_1k_tokens is not None
    ]
    before = [cost.production_per_1k_tokens for cost in costs if cost.production_per_1k_tokens is not None]
    seconds = (datetime.fromisoformat(finished_at) - datetime.fromisoformat(started_at)).total_seconds()
    return Kpis(
        cost_per_1k_before=before[0] if before else None,
        cost_per_1k_after=min(after, default=None),
        share_instrumented=share_instrumented,
        turn_around_seconds=seconds,
    )
