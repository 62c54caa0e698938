"""How far the traffic has moved since the evaluation set was drawn, for people."""

from __future__ import annotations

from flywheel.findings.drift import ANSWERS, CONTEXTS, LENGTHS, reasons
from flywheel.report.escaping import cell
from flywheel.report.numbers import UNKNOWN, share
from flywheel.report.tables import Row
from flywheel.results import RunResult

DRIFT_TITLE = "Traffic since the evaluation set was drawn"
RENEW = "--set history_config.renew_when_stale=true"
NAMES = {
    ANSWERS: "kinds of answers",
    CONTEXTS: "system prompts and tools the set has not",
    LENGTHS: "lengths of conversations",
}


def drift_rows(run: RunResult) -> list[Row]:
    """One row for each way in which traffic may move; none where nothing could be compared."""
    drift = run.analysis.drift if run.analysis else None
    if drift is None:
        return []
    moved = ", ".join(f"{name} {share(then)} to {share(now)}" for name, then, now in drift.moved[:3])
    details = {
        ANSWERS: moved,
        CONTEXTS: f"{share(drift.uncovered_then)} to {share(drift.uncovered_now)}",
        LENGTHS: "",
    }
    return [
        {
            "what": NAMES[shift.of],
            "share moved": share(shift.distance),
            "by chance": share(shift.by_chance),
            "p": f"{shift.p_value:.3f}",
            "from when drawn to since": cell(details[shift.of]) or UNKNOWN,
        }
        for shift in drift.shifts
    ]


def drift_remark(run: RunResult) -> str:
    """Whether the set is stale, why, and what to do; empty where nothing could be compared."""
    drift = run.analysis.drift if run.analysis else None
    if run.analysis is None or drift is None:
        return ""
    compared = f"{drift.calls_now:,} calls since {drift.since[:10]}, beside the {drift.calls_then:,} it was drawn from"
    if not drift.stale:
        return f"The evaluation set is not stale: {compared}."
    holdout = run.analysis.holdout
    if holdout is not None and holdout.renewed:
        return f"The evaluation set was renewed. The one before it was stale because {reasons(drift)} ({compared})."
    if run.config.get("history_config", {}).get("renew_when_stale"):
        todo = "There was too little traffic that no run has used for a new one: read newer logs."
    else:
        todo = (
            f"With {RENEW} the next run draws a new one, from traffic that no run has used: read newer logs."
        )
    return f"The evaluation set is stale because {reasons(drift)} ({compared}). {todo}"


def wants_renewal(run: RunResult) -> bool:
    """Whether the set that the run was measured on is stale."""
    analysis = run.analysis
    if analysis is None or analysis.drift is None or not analysis.drift.stale:
        return False
    return not (analysis.holdout is not None and analysis.holdout.renewed)
