"""`flywheel compare`: two runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blocks.history.sqlite_run_store import SqliteRunStore
from tests.integration.results_commands.stored_runs import BERLIN, ITEMS, store_run, stored
from tests.unit.evaluation.cases import item


def test_runs_over_the_same_items_are_compared_in_pairs(home: Path, flywheel: Any) -> None:
    code, out, _ = flywheel("compare", "first", "second", "--json")
    assert code == 0
    document = json.loads(out)
    (row,) = document["evaluations"]
    assert row["difference"]["n"] == 9
    assert row["difference"]["value"] == pytest.approx(3 / 9)
    assert row["difference"]["interval"]["low"] < 3 / 9 < row["difference"]["interval"]["high"]
    assert document["notes"] == ["second and first asked the same items."]
    assert document["settings"] == []
    code, out, _ = flywheel("compare", "first", "second")
    assert "+0.333" in out
    assert "Their settings are the same." in out


def test_settings_that_runs_do_not_share_are_named_beside_their_scores(home: Path, flywheel: Any) -> None:
    second = stored(home, "second")
    changed = msgspec.structs.replace(second, config={"training_config": {"epochs": 4}})
    SqliteRunStore(home / "runs.sqlite").save_run(changed)
    _, out, _ = flywheel("compare", "first", "second", "--json")
    assert json.loads(out)["settings"] == [
        {"run_id": "second", "setting": "training_config.epochs", "before": 2, "now": 4}
    ]
    _, out, _ = flywheel("compare", "first", "second")
    assert "training_config.epochs" in out


def test_runs_over_different_items_are_compared_over_those_in_both_and_it_is_said(
    home: Path, flywheel: Any
) -> None:
    store_run(home, "third", wrong=1, items=[*ITEMS[4:], item(BERLIN, "new")])
    _, out, _ = flywheel("compare", "first", "third", "--json")
    document = json.loads(out)
    assert document["evaluations"][0]["difference"]["n"] == 5
    assert "different sets of items, 5 of them in both" in document["notes"][0]


def test_a_comparison_needs_two_different_runs(home: Path, flywheel: Any) -> None:
    for words in (("compare", "first"), ("compare", "first", "first")):
        code, _, err = flywheel(*words)
        assert code == 2
        assert err
