"""Names of candidates and of what is made for them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from flywheel.candidates import content_hash, deployment_name, fine_tune_name, prefix_of, with_names
from flywheel.config import CandidateConfig, DeploymentConfig, FlywheelConfig, LoraConfig, TrainingConfig


def config_of(*candidates: CandidateConfig) -> FlywheelConfig:
    return FlywheelConfig(workload_id="w", client_id="c", candidates=list(candidates))


def test_entries_of_one_model_get_names_of_their_own() -> None:
    same = CandidateConfig(model="org/Small-1B")
    names = [
        c.name for c in with_names(config_of(same, same, CandidateConfig(model="x", name="mine"))).candidates
    ]
    assert len(set(names)) == 3
    assert names[1] == f"{names[0]}-2"
    assert names[2] == "mine"


def test_two_candidates_cannot_share_a_name_that_somebody_gave() -> None:
    with pytest.raises(ValidationError, match="two candidates are named 'a'"):
        config_of(CandidateConfig(name="a", model="x"), CandidateConfig(name="a", model="y"))


def test_names_of_remote_things_stay_the_same_for_the_same_run_and_content_and_change_with_either() -> None:
    candidate = CandidateConfig(name="a", model="x")
    config = config_of(candidate)
    name = fine_tune_name("run", config, candidate, "data")
    assert name == fine_tune_name("run", config, candidate, "data")
    assert name != fine_tune_name("run", config, candidate, "other data")
    assert name != fine_tune_name("another", config, candidate, "data")
    other_rank = candidate.model_copy(update={"lora_config": LoraConfig(adapter_dim=4)})
    assert name != fine_tune_name("run", config, other_rank, "data")
    more = config.model_copy(update={"training_config": TrainingConfig(epochs=3)})
    assert name != fine_tune_name("run", more, candidate, "data")


@pytest.mark.parametrize(
    "change",
    [
        {"model": "y"},
        {"name": "b"},
        {"context_length": 4096},
        {"customize": False},  # NeMo deploys without room for an adapter then
        {"deployment_config": DeploymentConfig(gpus=2)},
    ],
)
def test_a_deployment_with_other_settings_has_another_name(change: dict[str, object]) -> None:
    candidate = CandidateConfig(name="a", model="x")
    assert deployment_name("run", candidate) == deployment_name("run", candidate.model_copy())
    assert deployment_name("run", candidate) != deployment_name("run", candidate.model_copy(update=change))
    of_its_training = candidate.model_copy(update={"lora_config": LoraConfig(adapter_dim=4), "icl": False})
    assert deployment_name("run", candidate) == deployment_name("run", of_its_training)


@example("aaaa", "aaaa-b")
@example("run", "RUN")
@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_no_name_of_one_run_begins_like_those_of_another(one: str, other: str) -> None:
    name = deployment_name(one, CandidateConfig(name="a", model="x"))
    assert name.startswith(prefix_of(one))
    assert name.startswith(prefix_of(other)) == (one == other)


def test_runs_that_a_server_started_in_the_same_moment_share_no_names() -> None:
    first, second = "0199c5a1-7b12-7cc2-8a51-d0b6c4f7a901", "0199c5a1-7b14-7d0e-9f3b-2c1f5b7e8d02"
    candidate = CandidateConfig(name="a", model="x")
    assert deployment_name(first, candidate) != deployment_name(second, candidate)
    assert not deployment_name(second, candidate).startswith(prefix_of(first))
    assert prefix_of("3f2a9c1b7d40") == "fw-3f2a9c1b7d40-"


def test_a_candidates_own_settings_win_over_the_runs() -> None:
    own = CandidateConfig(name="a", model="x", training_config=TrainingConfig(epochs=9))
    config = config_of(own, CandidateConfig(name="b", model="x"))
    assert config.training_for(own).epochs == 9
    assert config.training_for(config.candidates[1]).epochs == config.training_config.epochs


def test_the_content_hash_does_not_depend_on_key_order() -> None:
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": 2})
