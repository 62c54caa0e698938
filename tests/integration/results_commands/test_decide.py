"""`flywheel decide`: who decided what about a candidate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from tests.integration.results_commands.stored_runs import stored


def test_a_decision_is_recorded_with_who_and_shown_with_the_results(home: Path, flywheel: Any) -> None:
    before = stored(home, "second")
    code, out, _ = flywheel("decide", "second", "small", "--by", "Ada", "--done", "spot-check")
    assert code == 0
    assert "OPEN  load-test" in out
    code, out, _ = flywheel(
        "decide", "second", "small", "--approve", "--by", "Ada", "--note", "fine", "--json"
    )
    assert json.loads(out)["checklist"]["spot-check"] is True
    after_it = stored(home, "second")
    assert msgspec.structs.replace(after_it, decisions=[]) == before
    assert [d.decision for d in after_it.decisions] == ["open", "approved"]
    _, out, _ = flywheel("results", "second")
    assert "approved" in out
    assert "Ada" in out
    assert "Promotion checklist" in out


def test_approving_what_was_not_surfaced_is_recorded_and_said(home: Path, flywheel: Any) -> None:
    code, out, _ = flywheel("decide", "first", "small", "--approve", "--by", "Ada")
    assert code == 0
    assert "was not surfaced" in out
    assert "Nothing was promoted or deployed." in out


def test_a_decision_without_a_decision_or_a_name_is_refused(home: Path, flywheel: Any) -> None:
    assert flywheel("decide", "first", "small", "--by", "Ada")[0] == 2
    assert flywheel("decide", "first", "small", "--approve", "--by", " ")[0] == 2
    assert flywheel("decide", "first", "small", "--done", "sopt", "--by", "Ada")[0] == 2
    assert stored(home, "first").decisions == []
