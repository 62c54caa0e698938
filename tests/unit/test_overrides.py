"""Settings from files and the command line, over what is in effect."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.cli.settings_arguments import add_settings_arguments, config_from_arguments
from flywheel.config import CandidateConfig, DataSplitConfig, FlywheelConfig, TrainingConfig
from flywheel.errors import ConfigError
from flywheel.overrides import load_config, merge, with_overrides

IDS = {"workload_id": "w", "client_id": "c"}


def load(*sets: str, **base: Any) -> FlywheelConfig:
    return load_config(sets=sets, base={**IDS, **base})


def settings_file(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def from_arguments(*arguments: str) -> FlywheelConfig:
    parser = argparse.ArgumentParser()
    add_settings_arguments(parser)
    return config_from_arguments(parser.parse_args(arguments))


LOG = ("--logs", "log.jsonl", "--workload", "w", "--client", "c")


def test_a_partial_override_keeps_the_rest_that_is_in_effect(tmp_path: Path) -> None:
    # resetting to class defaults turned a deployment's limit of 1,000 into 10,000
    base = FlywheelConfig(**IDS, data_split_config=DataSplitConfig(limit=1_000, val_ratio=0.3))
    file = settings_file(tmp_path, "data_split_config: {eval_size: 7}")
    config = load_config(file, ["data_split_config.random_seed=3"], base)
    assert config.data_split_config == DataSplitConfig(eval_size=7, limit=1_000, val_ratio=0.3, random_seed=3)
    assert base.data_split_config.eval_size == 20


def test_a_judge_that_is_named_takes_the_place_of_one_of_another_kind() -> None:
    at_an_address = load_config(
        base={"workload_id": "w", "client_id": "c"},
        sets=["judge_config.base_url=http://j/v1", "judge_config.model=one", "judge_config.concurrency=3"],
    )
    other = with_overrides(at_an_address, {"judge_config.model": "two"}).judge_config
    assert (other.base_url, other.model) == ("http://j/v1", "two")
    saved = with_overrides(at_an_address, {"judge_config.block": "flywheel-judge/other"})
    assert (saved.judge_config.base_url, saved.judge_config.model) == ("", "")
    assert saved.judge_config.concurrency == 3
    back = load_config(base=saved, sets=["judge_config.function=judges.py:mine"]).judge_config
    assert (back.block, back.function) == ("", "judges.py:mine")
    with pytest.raises(ConfigError, match="give one judge"):
        load_config(base=saved, sets=["judge_config={model: a, block: b/c}"])


@pytest.mark.parametrize("none", ["none", "None", "null", "~", ""])
def test_no_limit_can_be_said(none: str) -> None:
    # "no limit" was refused
    assert load(f"data_split_config.limit={none}").data_split_config.limit is None


def test_seed_zero_is_a_seed() -> None:
    assert (
        load(
            "data_split_config.random_seed=0", data_split_config={"random_seed": 5}
        ).data_split_config.random_seed
        == 0
    )


def test_a_flag_wins_over_set_and_set_wins_over_the_file(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "data_split_config: {eval_size: 1, val_ratio: 0.5, random_seed: 1}")
    sets = ["--set", "data_split_config.eval_size=2", "--set", "data_split_config.val_ratio=0.4"]
    split = from_arguments(*LOG, "--config", str(file), *sets, "--eval-size", "3").data_split_config
    assert (split.eval_size, split.val_ratio, split.random_seed) == (3, 0.4, 1)


def test_every_size_flag_reaches_its_setting() -> None:
    flags = (
        "--eval-size",
        "5",
        "--val-ratio",
        "0",
        "--seed",
        "9",
        "--limit",
        "none",
        "--min-total-records",
        "6",
    )
    split = from_arguments(*LOG, *flags).data_split_config
    assert split == DataSplitConfig(eval_size=5, val_ratio=0, random_seed=9, limit=None, min_total_records=6)


def test_without_flags_the_defaults_of_the_settings_hold() -> None:
    assert from_arguments(*LOG).data_split_config == DataSplitConfig()


def test_the_workload_may_stand_in_the_file(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "workload_id: w2\nclient_id: c2\nlogs: {path: a.jsonl}")
    config = from_arguments("--config", str(file))
    assert (config.workload_id, config.client_id, config.logs.path) == ("w2", "c2", "a.jsonl")


@pytest.mark.parametrize(
    ("left_out", "flag"), [("--logs", "--logs"), ("--workload", "--workload"), ("--client", "--client")]
)
def test_what_is_missing_is_named_by_its_flag(left_out: str, flag: str) -> None:
    position = LOG.index(left_out)
    with pytest.raises(ConfigError, match=flag):
        from_arguments(*LOG[:position], *LOG[position + 2 :])


@pytest.mark.parametrize(
    ("setting", "nearest"),
    [
        ("data_split_config.evalsize=3", "data_split_config.eval_size"),
        ("datasplit_config.eval_size=3", "data_split_config"),
        ("candidates.0.modle=x", "candidates.0.model"),
        ("candidates.smal.gpus=2", "candidates.small"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(setting: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=nearest):
        load(setting, candidates=[{"name": "small", "model": "m"}])


def test_a_key_like_no_other_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"known here: .*eval_size"):
        load("data_split_config.zzzzzz=3")


def test_a_candidate_is_addressed_by_position_or_name() -> None:
    base = {"candidates": [{"name": "small", "model": "m"}, {"name": "large", "model": "n"}]}
    config = load("candidates.0.gpus=2", "candidates.large.customize=false", **base)
    assert config.candidates == [
        CandidateConfig(name="small", model="m", gpus=2),
        CandidateConfig(name="large", model="n", customize=False),
    ]


def test_one_position_past_the_end_adds_a_candidate() -> None:
    config = load("candidates.1.model=other", candidates=[{"model": "m"}])
    assert [c.model for c in config.candidates] == ["m", "other"]
    with pytest.raises(ConfigError, match=r"candidates\.5"):
        load("candidates.5.model=other", candidates=[{"model": "m"}])


def test_a_whole_list_replaces_the_list() -> None:
    config = load("candidates=[{model: a}, {model: b, gpus: 4}]", candidates=[{"model": "m", "gpus": 8}])
    assert config.candidates == [CandidateConfig(model="a"), CandidateConfig(model="b", gpus=4)]


def test_a_candidates_partial_training_settings_stand_over_the_runs() -> None:
    config = load(
        "candidates.0.training_config.epochs=9",
        training_config={"batch_size": 3},
        candidates=[{"model": "m"}],
    )
    assert config.candidates[0].training_config == TrainingConfig(epochs=9, batch_size=3)


def test_values_are_read_as_yaml_and_text_stays_text() -> None:
    config = load_config(
        sets=[
            "workload_id=007",
            "client_id=a.b=c",
            "description=yes",
            "training_config.learning_rate=1e-3",
            "lora_config.target_modules=[q_proj, v_proj]",
            "logs.since=2025-01-02T03:04:05Z",
        ]
    )
    assert (config.workload_id, config.client_id, config.description) == ("007", "a.b=c", "yes")
    assert config.training_config.learning_rate == 1e-3
    assert config.lora_config.target_modules == ["q_proj", "v_proj"]
    assert config.logs.since is not None
    assert config.logs.since.year == 2025


def test_each_wrong_value_is_one_sentence_with_its_place() -> None:
    with pytest.raises(ConfigError) as raised:
        load("data_split_config.eval_size=0", "data_split_config.val_ratio=2", "icl_config.placement=left")
    lines = str(raised.value).splitlines()
    assert len(lines) == 3
    assert "data_split_config.eval_size" in lines[0]
    assert "greater than or equal to 1" in lines[0]
    assert "(it is 0)" in lines[0]


@pytest.mark.parametrize(
    ("setting", "how"),
    [
        ("window_config.hours=9-5", "22:00-06:00"),
        ("candidates=[{model: m, deployment_config: {storage: 25GB}}]", "Gi"),
    ],
)
def test_what_is_written_in_another_way_is_answered_with_how_it_is_written(setting: str, how: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(setting)
    assert how in str(raised.value)
    assert "pattern" not in str(raised.value)


def test_settings_that_do_not_agree_say_so() -> None:
    with pytest.raises(ConfigError, match=r"min_examples \(9\) is larger than max_examples"):
        load("icl_config.min_examples=9")


@pytest.mark.parametrize("setting", ["eval_size", "=3", "a..b=1", ".a=1"])
def test_a_setting_without_key_or_value_shows_how(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"key\.path=value"):
        load(setting)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [1", "line 1"),
        ("- 1", "mapping"),
        ("\x00", "not YAML"),
        ("eval_size: 3", "no setting"),
        ("data_split_config: {val_ratio: 0.2}\ndata_split_config: {eval_size: 5}", "line 2.*twice"),
        ("? [data_split_config]\n: 3", "not YAML"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_config(settings_file(tmp_path, text), base=IDS)


def test_a_file_that_is_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.yaml", base=IDS)
    assert load_config(settings_file(tmp_path, ""), base=IDS) == FlywheelConfig(**IDS)


@given(st.integers(1, 100), st.floats(0, 1), st.none() | st.integers(1, 10**6))
def test_merging_changes_nothing_it_was_given(size: int, ratio: float, limit: int | None) -> None:
    base = FlywheelConfig(**IDS).model_dump()
    before = FlywheelConfig(**IDS).model_dump()
    merged = merge(base, {"data_split_config": {"eval_size": size, "val_ratio": ratio, "limit": limit}})
    assert base == before
    assert merged["data_split_config"]["eval_size"] == size
    assert {k: v for k, v in merged.items() if k != "data_split_config"} == {
        k: v for k, v in base.items() if k != "data_split_config"
    }


@pytest.mark.parametrize(
    "setting",
    [
        "judge_config.base_url=https://user:geheim@host/v1",
        "icl_config.embedder.base_url=https://geheim@host/v1",
        "analysis_config.production_endpoint.base_url=http://u:geheim@host:8000/v1",
        "judge_config.api_key_env=sk-geheim",
        "icl_config.embedder.api_key_env=Bearer geheim",
        "analysis_config.production_endpoint.api_key_env=sk-geheim",
    ],
)
def test_a_secret_among_the_settings_is_refused_and_not_repeated(setting: str) -> None:
    with pytest.raises(ConfigError, match="stored with the run") as caught:
        load(setting)
    assert setting.partition("=")[0] in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_addresses_and_names_of_variables_are_no_secrets() -> None:
    sets = ["base_url=http://[::1]:8000/v1/@x", "model=a@b", "api_key_env=_MY_KEY_2"]
    config = load(*(f"judge_config.{setting}" for setting in sets))
    assert config.judge_config.base_url == "http://[::1]:8000/v1/@x"
