from __future__ import annotations

from typing import Any

from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.overrides import with_overrides
from flywheel.report.settings_difference import changed_rows, changed_settings
from flywheel.results import RunResult

CONFIG = FlywheelConfig(
    workload_id="w",
    client_id="c",
    candidates=[CandidateConfig(name="a", model="m"), CandidateConfig(model="n")],
)


def run(run_id: str, **overrides: Any) -> RunResult:
    config = with_overrides(CONFIG, {path.replace("__", "."): value for path, value in overrides.items()})
    return RunResult(run_id, "w", "c", "completed", "2026-01-01T00:00:00+00:00", config=config.model_dump())


def test_runs_under_equal_settings_differ_in_none() -> None:
    assert changed_settings([run("one"), run("two")]) == []


def test_each_setting_that_was_changed_is_named_as_the_command_takes_it() -> None:
    changed = changed_settings(
        [run("one"), run("two", training_config__epochs=5), run("three", candidates__a__gpus=2)]
    )
    assert [tuple(one) for one in changed] == [
        ("two", "training_config.epochs", 2, 5),
        ("three", "candidates.a.gpus", 1, 2),
    ]


def test_candidates_meet_by_name_whatever_their_order_and_a_new_one_is_shown() -> None:
    config = CONFIG.model_dump()
    small = next(one for one in config["candidates"] if one["name"] == "a")
    turned = run("two")
    turned.config["candidates"] = [{**small, "name": "b", "model": "o"}, *reversed(config["candidates"])]
    settings = {one.setting: (one.before, one.now) for one in changed_settings([run("one"), turned])}
    assert settings["candidates.b.model"] == (None, "o")
    assert not any(path.startswith("candidates.a") for path in settings)


def test_a_setting_that_came_with_a_later_version_differs_only_where_it_is_set() -> None:
    older = run("one")
    del older.config["training_config"]["epochs"]
    assert changed_settings([older, run("two")]) == []
    (changed,) = changed_settings([older, run("two", training_config__epochs=5)])
    assert (changed.before, changed.now) == (2, 5)


def test_values_that_came_from_outside_are_shown_as_text() -> None:
    (row,) = changed_rows(changed_settings([run("one"), run("two", description="[x](y)\n|z|")]))
    assert row["setting"] == "description"
    assert "\n" not in row["now"]
