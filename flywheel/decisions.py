"""What a person decides of a candidate, and the points to tick off before. A decision is recorded, no more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from flywheel.errors import ConfigError, DataError
from flywheel.findings.analysis import Decision, Outcome, Verdict
from flywheel.results import RunResult

CHECKLIST = {
    "spot-check": "A person has read divergent answers and can live with them.",
    "domain-suite": "The candidate passes the workload's own test suite.",
    "load-test": "The candidate answers in time at production's rate.",
    "security-and-compliance": "Security and compliance have no objection.",
}
"""The points of the promotion checklist, and what each asks."""

_ALSO_CALLED = {"security": "security-and-compliance", "compliance": "security-and-compliance"}


def surfaced(run: RunResult) -> list[str]:
    """Candidates that at least one verdict surfaces, in the run's order."""
    found = {verdict.candidate for verdict in _verdicts(run) if verdict.outcome == "surfaced"}
    return [candidate.candidate for candidate in run.candidates if candidate.candidate in found]


def best_outcome(run: RunResult, candidate: str) -> Outcome | None:
    """The candidate's best verdict, None where there is none."""
    mine = {verdict.outcome for verdict in _verdicts(run) if verdict.candidate == candidate}
    order: tuple[Outcome, ...] = ("surfaced", "cannot_tell", "not_surfaced")
    return next((outcome for outcome in order if outcome in mine), None)


def latest_decision(run: RunResult, candidate: str) -> Decision | None:
    """The decision that counts: the last that was recorded for the candidate."""
    return next((entry for entry in reversed(run.decisions) if entry.candidate == candidate), None)


def checklist_of(run: RunResult, candidate: str) -> dict[str, bool]:
    """Every point, and whether it was done so far."""
    latest = latest_decision(run, candidate)
    return {point: bool(latest and latest.checklist.get(point)) for point in CHECKLIST}


def undecided(run: RunResult) -> list[str]:
    """Surfaced candidates of which nobody has decided yet."""
    return [
        candidate
        for candidate in surfaced(run)
        if (latest := latest_decision(run, candidate)) is None or latest.decision == "open"
    ]


def points(names: Iterable[str]) -> list[str]:
    """Points of the checklist by name. Raises ConfigError with the names there are."""
    found = []
    for name in names:
        point = _ALSO_CALLED.get(name, name)
        if point not in CHECKLIST:
            raise ConfigError(f"{name!r} is no point of the checklist; there are {', '.join(CHECKLIST)}.")
        found.append(point)
    return found


def with_decision(
    run: RunResult,
    candidate: str,
    decision: Literal["approved", "rejected", "open"],
    *,
    by: str,
    note: str = "",
    done: Iterable[str] = (),
    at: datetime | None = None,
) -> RunResult:
    """`run` with one more decision; what was ticked off before stays so. `open` only ticks off points.

    Raises:
        ConfigError: Nobody decided (`by` is empty), or a point is none.
        DataError: The run has no such candidate.
    """
    if not by.strip():
        raise ConfigError("A decision needs the name of whoever decides: --by NAME.")
    known = [entry.candidate for entry in run.candidates]
    if candidate not in known:
        raise DataError(
            f"Run {run.run_id} has no candidate {candidate!r}; it has {', '.join(known) or 'none'}."
        )
    checklist = checklist_of(run, candidate) | dict.fromkeys(points(done), True)
    entry = Decision(
        candidate=candidate,
        decision=decision,
        by=by.strip(),
        at=(at or datetime.now(UTC)).isoformat(),
        note=note.strip(),
        checklist=checklist,
    )
    return msgspec.structs.replace(run, decisions=[*run.decisions, entry])


def _verdicts(run: RunResult) -> list[Verdict]:
    return run.analysis.verdicts if run.analysis else []
