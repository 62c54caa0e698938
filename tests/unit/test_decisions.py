"""A decision is recorded with who made it and what was ticked off; it changes nothing else."""

from __future__ import annotations

import msgspec
import pytest

from flywheel.decisions import (
    CHECKLIST,
    best_outcome,
    checklist_of,
    latest_decision,
    points,
    surfaced,
    undecided,
    with_decision,
)
from flywheel.errors import ConfigError, DataError
from flywheel.report.next_steps import conclusion, next_steps
from tests.unit.report.full_run import full_run

FRESH = msgspec.structs.replace(full_run(), decisions=[])


def test_a_decision_changes_nothing_but_the_list_of_decisions() -> None:
    after = with_decision(FRESH, "small", "approved", by=" Ada ", note="fine")
    assert msgspec.structs.replace(after, decisions=[]) == FRESH
    assert FRESH.decisions == []
    (decision,) = after.decisions
    assert (decision.by, decision.decision, decision.note) == ("Ada", "approved", "fine")


def test_points_that_were_done_stay_done_and_the_last_decision_counts() -> None:
    run = with_decision(FRESH, "small", "open", by="Ada", done=["spot-check"])
    run = with_decision(run, "small", "open", by="Bob", done=["load-test"])
    assert [point for point, done in checklist_of(run, "small").items() if done] == [
        "spot-check",
        "load-test",
    ]
    assert undecided(run) == ["small"]
    run = with_decision(run, "small", "rejected", by="Cy")
    assert undecided(run) == []
    latest = latest_decision(run, "small")
    assert latest is not None
    assert (latest.by, latest.checklist["load-test"], latest.checklist["domain-suite"]) == ("Cy", True, False)


def test_nobody_and_unknown_candidates_and_points_are_refused() -> None:
    with pytest.raises(ConfigError, match="--by"):
        with_decision(FRESH, "small", "approved", by="  ")
    with pytest.raises(DataError, match="it has small, broken"):
        with_decision(FRESH, "smal", "approved", by="Ada")
    with pytest.raises(ConfigError, match="spot-check"):
        points(["spot-chek"])
    assert points(["security"]) == ["security-and-compliance"]


def test_a_candidate_is_surfaced_by_its_best_verdict() -> None:
    assert surfaced(FRESH) == ["small"]
    assert best_outcome(FRESH, "small") == "surfaced"
    assert best_outcome(FRESH, "broken") is None


def test_the_next_step_of_a_surfaced_candidate_is_its_checklist_and_of_an_approved_one_what_is_open() -> None:
    (step, *_) = next_steps(FRESH)
    assert all(point in step.text for point in CHECKLIST)
    assert step.command == "flywheel decide run-1 small --approve --by NAME"
    approved = with_decision(FRESH, "small", "approved", by="Ada", done=["spot-check"])
    (step, *_) = next_steps(approved)
    assert "approved by Ada, with open points: domain-suite" in step.text
    assert "nothing was deployed" in step.text


def test_no_winner_is_said_with_the_best_there_was() -> None:
    assert FRESH.analysis
    verdicts = [msgspec.structs.replace(v, outcome="not_surfaced") for v in FRESH.analysis.verdicts]
    analysis = msgspec.structs.replace(FRESH.analysis, verdicts=verdicts, conclusion="")
    run = msgspec.structs.replace(FRESH, analysis=analysis)
    assert conclusion(run).startswith(
        "No winner: no candidate was surfaced. The best was small customized-eval"
    )
