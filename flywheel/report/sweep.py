"""What a sweep did, as a table and as a few lines of Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flywheel.report.escaping import cell
from flywheel.scheduling.sweep_plan import Coverage, SweepPlan

Row = dict[str, Any]
NAMELESS = "(none)"


def sweep_rows(plan: SweepPlan, outcomes: Mapping[tuple[str, str], str]) -> list[Row]:
    """One row for each workload, those with a run first.

    Args:
        outcomes: By workload and client, what became of the runs: their states, or why they were not started.
    """
    rows = [
        {
            "workload": cell(chosen.workload_id),
            "client": cell(chosen.client_id),
            "records": chosen.records,
            "expected savings": _expected(chosen.expected, chosen.basis),
            "what": cell(
                outcomes.get((chosen.workload_id, chosen.client_id), "would start")
                + (f"; its evaluation set is stale because {chosen.stale}" if chosen.stale else ""),
                400,
            ),
        }
        for chosen in plan.chosen
    ]
    rows += [
        {
            "workload": cell(skipped.workload_id or NAMELESS),
            "client": cell(skipped.client_id or NAMELESS),
            "records": skipped.records,
            "expected savings": "",
            "what": cell(f"skipped: {skipped.why}"),
        }
        for skipped in plan.skipped
    ]
    return rows


def coverage_sentence(coverage: Coverage) -> str:
    """How much of the traffic is instrumented, and how many workloads have been evaluated."""
    return (
        f"{_share(coverage.traffic_share)} of the traffic names its workload "
        f"({coverage.records_with_workload:,} of {coverage.records:,} calls); "
        f"{_share(coverage.evaluated_share)} of the workloads have been evaluated "
        f"({coverage.workloads_evaluated} of {coverage.workloads})."
    )


def _share(share: float | None) -> str:
    return "None" if share is None else f"{share:.1%}"


def _expected(value: float, basis: str) -> str:
    if basis == "tokens":
        return f"no price known; {value:,.0f}k tokens a month"
    return f"{value:,.2f} a month ({basis})"
