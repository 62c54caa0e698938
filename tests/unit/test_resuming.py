"""What a run that is taken up again keeps of its earlier attempt."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flywheel.candidates import with_names
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.overrides import with_overrides
from flywheel.results import CandidateResult, RunResult
from flywheel.resuming import results_that_stand, same_data

CONFIG = with_names(
    FlywheelConfig(
        workload_id="w",
        client_id="c",
        candidates=[CandidateConfig(name="a", model="x"), CandidateConfig(name="b", model="y")],
    )
)


def done(config: FlywheelConfig) -> RunResult:
    """An attempt that got to the end with both candidates, as it comes back from a store."""
    run = RunResult(
        run_id="r",
        workload_id="w",
        client_id="c",
        status="partial",
        started_at="2025-06-15T15:06:40Z",
        config=config.model_dump(mode="json"),
        candidates=[
            CandidateResult(candidate=c.name, model_name=c.model, status="completed")
            for c in config.candidates
        ],
    )
    return msgspec.json.decode(msgspec.json.encode(run), type=RunResult)


def standing(**overrides: Any) -> dict[str, str]:
    new = with_names(with_overrides(CONFIG, {key.replace("__", "."): v for key, v in overrides.items()}))
    return {result.candidate: result.status for result in results_that_stand(done(CONFIG), new)}


BOTH = {"a": "completed", "b": "completed"}
NEITHER = {"a": "pending", "b": "pending"}


@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"description": "again"},
        {"gpu_slots": 4},
        {"connections__home": "/elsewhere"},
        {"evaluation_config__concurrency": 3},
        {"judge_config__timeout_seconds": 7},
    ],
    ids=str,
)
def test_what_decides_no_result_costs_none(setting: dict[str, Any]) -> None:
    assert standing(**setting) == BOTH


@pytest.mark.parametrize(
    "setting",
    [
        {"evaluation_config__temperature": 0.0},
        {"icl_config__max_examples": 1},
        {"training_config__epochs": 9},
        {"data_split_config__random_seed": 1},
        {"judge_config__model": "j"},
    ],
    ids=str,
)
def test_a_result_is_not_reported_under_settings_it_was_not_made_with(setting: dict[str, Any]) -> None:
    assert standing(**setting) == NEITHER


def test_a_candidates_own_change_costs_its_own_result_alone() -> None:
    assert standing(candidates__b__model="z") == {"a": "completed", "b": "pending"}


def test_candidates_that_came_are_pending_and_those_that_went_are_gone() -> None:
    entries = [{"name": "new", "model": "x"}, {"name": "b", "model": "y"}]
    assert standing(candidates=entries) == {"new": "pending", "b": "completed"}


def test_the_same_data_are_the_same_wherever_they_lie() -> None:
    before = {"datasets": "/home/a/datasets/datasets-1f"}
    assert same_data(before, {"datasets": "s3://bucket/datasets-1f"})
    assert not same_data(before, {"datasets": "/home/a/datasets/datasets-2e"})
    assert same_data({}, before)
