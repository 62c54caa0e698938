"""How worn the evaluation set is stands wherever the scores stand."""

from __future__ import annotations

import msgspec

from flywheel.findings.analysis import Analysis, Holdout
from flywheel.report.evaluation_set import remarks
from flywheel.report.summary_page import summary_markdown
from flywheel.results import RunResult

RUN = RunResult("r", "w", "c", "completed", "2026-01-01T00:00:00+00:00")


def with_holdout(**of: object) -> RunResult:
    holdout = msgspec.convert({"name": "memory-1", "items": 40, **of}, Holdout)
    return msgspec.structs.replace(RUN, analysis=Analysis(holdout=holdout, notes=["prices <b>missing</b>"]))


def test_a_run_without_conclusions_has_nothing_to_remark() -> None:
    assert remarks(RUN) == []


def test_a_set_says_how_often_it_was_used_and_what_came_beside_it() -> None:
    told = remarks(with_holdout(uses=3, budget=25, fresh_items=10, not_in_log=2, held_back=7))
    assert told[0] == (
        "The kept evaluation set has 40 items, beside 10 of new traffic. It has been used 3 times of at most 25."
    )
    assert told[1].startswith("2 of its items are not in the log any more")
    assert told[2].startswith("7 records were left out of this run")
    assert told[-1] == "prices <b>missing</b>"


def test_a_renewed_set_says_so() -> None:
    assert any("It is new in this run" in line for line in remarks(with_holdout(renewed=True)))
    assert not any("It is new in this run" in line for line in remarks(with_holdout()))


def test_the_summary_shows_the_remarks_with_their_text_escaped() -> None:
    page = summary_markdown(with_holdout(uses=2))
    assert "has been used 2 times" in page
    assert "<b>" not in page
