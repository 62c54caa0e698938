"""Parts of a run: what is chosen, what is taken over, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.config import CandidateConfig, DataSplitConfig, FlywheelConfig, TrainingConfig
from flywheel.errors import ConfigError
from flywheel.rerun import PartConfig, Stage, data_settings_in, merged, part_of, without_unwanted
from flywheel.results import EVAL_TYPES, CandidateResult, Customization, Evaluation, RunResult

STAGES: tuple[Stage, ...] = ("base-eval", "icl-eval", "fine-tune", "customized-eval", "judge")
CONFIG = FlywheelConfig(
    workload_id="w",
    client_id="c",
    candidates=[CandidateConfig(name=name, model=f"model-{name}") for name in ("alpha", "beta", "gamma")],
)


def evaluation(eval_type: str, model: str) -> Evaluation:
    return Evaluation(eval_type=eval_type, model=model)  # type: ignore[arg-type]


def run_of(config: FlywheelConfig, *names: str) -> RunResult:
    results = [CandidateResult(candidate=name, model_name="m", status="completed") for name in names]
    return RunResult(
        run_id="r1",
        workload_id="w",
        client_id="c",
        status="completed",
        started_at="2026-01-01T00:00:00+00:00",
        candidates=results,
        config=config.model_dump(mode="json"),
    )


def test_a_fresh_run_of_some_candidates_has_only_these() -> None:
    config = part_of(CONFIG, PartConfig(only_candidates=["beta"]), None)
    assert [candidate.name for candidate in config.candidates] == ["beta"]


def test_a_rerun_keeps_the_settings_of_the_data_and_takes_the_others_as_they_are_now() -> None:
    before = CONFIG.model_copy(update={"data_split_config": DataSplitConfig(eval_size=7)})
    now = CONFIG.model_copy(update={"training_config": TrainingConfig(epochs=9)})
    config = part_of(now, PartConfig(of_run="r1"), run_of(before, "alpha", "beta", "gamma"))
    assert config.data_split_config.eval_size == 7
    assert config.training_config.epochs == 9


def test_a_candidate_that_the_earlier_run_lacks_is_worked_on_only_when_it_is_asked_for() -> None:
    earlier = run_of(CONFIG, "alpha", "beta")
    names = [
        [c.name for c in part_of(CONFIG, PartConfig(of_run="r1", only_candidates=only), earlier).candidates]
        for only in (["beta"], ["gamma"], [])
    ]
    assert names == [["alpha", "beta"], ["alpha", "beta", "gamma"], ["alpha", "beta", "gamma"]]


def test_an_unknown_candidate_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="perhaps 'gamma'"):
        part_of(CONFIG, PartConfig(only_candidates=["gama"]), None)


def test_stages_switch_off_what_is_not_asked_for_and_never_switch_anything_on() -> None:
    candidate = CandidateConfig(name="a", model="m", icl=False)
    assert without_unwanted(candidate, PartConfig()).icl is False
    only_base = without_unwanted(CandidateConfig(name="a", model="m"), PartConfig(stages=["base-eval"]))
    assert (only_base.icl, only_base.customize) == (False, False)
    trained = without_unwanted(CandidateConfig(name="a", model="m"), PartConfig(stages=["fine-tune"]))
    assert (trained.icl, trained.customize) == (False, True)


@given(st.sets(st.sampled_from(EVAL_TYPES)), st.sets(st.sampled_from(EVAL_TYPES)))
def test_what_was_done_again_replaces_and_the_rest_stays_in_the_usual_order(
    again: set[str], before: set[str]
) -> None:
    new = CandidateResult("a", "m", "completed", [evaluation(kind, "new") for kind in again])
    old = CandidateResult("a", "m", "completed", [evaluation(kind, "old") for kind in before])
    found = merged(new, old).evaluations
    assert [e.eval_type for e in found] == [kind for kind in EVAL_TYPES if kind in again | before]
    assert all(e.model == ("new" if e.eval_type in again else "old") for e in found)


def test_a_fine_tune_that_was_not_done_again_is_kept() -> None:
    tuned = Customization(job="j", status="completed")
    old = CandidateResult("a", "m", "completed", customization=tuned)
    new = CandidateResult("a", "m", "completed")
    assert merged(new, old).customization == tuned
    assert merged(new, None) == new


@pytest.mark.parametrize("stages", [["judge"], ["customized-eval"], ["judge", "customized-eval"]])
def test_stages_that_build_on_an_earlier_run_need_one(stages: list[Stage]) -> None:
    with pytest.raises(ValueError, match="build on an earlier run"):
        PartConfig(stages=stages)
    assert PartConfig(of_run="r1", stages=stages)


def test_overrides_of_the_data_are_named() -> None:
    overrides = {"training_config.epochs": 1, "data_split_config.eval_size": 5, "logs.path": "x"}
    assert data_settings_in(overrides) == ["data_split_config.eval_size", "logs.path"]
