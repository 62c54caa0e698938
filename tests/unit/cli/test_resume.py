"""Which settings a run is taken up again with."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from blocks.history.sqlite_run_store import SqliteRunStore
from flywheel.cli.main import build_parser, main
from flywheel.cli.run import settings_of_run
from flywheel.cli.running import how_to_go_on
from flywheel.config import (
    CandidateConfig,
    ConnectionsConfig,
    DataSplitConfig,
    EvaluationConfig,
    FlywheelConfig,
    LogsConfig,
)
from flywheel.errors import ConfigError
from flywheel.results import RunResult


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlywheelConfig:
    """The settings, none of them a default, of an interrupted run that the store of this machine knows."""
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    config = FlywheelConfig(
        workload_id="w",
        client_id="c",
        logs=LogsConfig(path="/var/logs"),
        data_split_config=DataSplitConfig(eval_size=7, limit=None, random_seed=3),
        evaluation_config=EvaluationConfig(concurrency=2, temperature=0.25),
        connections=ConnectionsConfig(platform="nemo"),
        candidates=[CandidateConfig(name="a", model="x", gpus=2), CandidateConfig(name="b", model="y")],
    )
    run = RunResult(
        run_id="0123456789ab",
        workload_id="w",
        client_id="c",
        status="cancelled",
        started_at="2025-06-15T15:06:40Z",
        config=config.model_dump(mode="json"),
    )
    with contextlib.closing(SqliteRunStore(tmp_path / "runs.sqlite")) as store:
        store.save_run(run)
    return config


def resume(*options: str) -> tuple[FlywheelConfig, str]:
    arguments = build_parser().parse_args(["run", "--resume", "0123", *options])
    return settings_of_run("0123", arguments, "--resume")


def test_a_run_goes_on_under_its_own_settings_without_being_told_them_again(stored: FlywheelConfig) -> None:
    assert resume() == (stored, "0123456789ab")


def test_what_is_given_stands_over_them_and_leaves_the_rest(stored: FlywheelConfig) -> None:
    config, _ = resume(
        "--set", "evaluation_config.concurrency=9", "--set", "candidates.b.gpus=3", "--seed", "0"
    )
    split = stored.data_split_config.model_copy(update={"random_seed": 0})
    evaluation = stored.evaluation_config.model_copy(update={"concurrency": 9})
    second = stored.candidates[1].model_copy(update={"gpus": 3})
    assert config == stored.model_copy(
        update={
            "data_split_config": split,
            "evaluation_config": evaluation,
            "candidates": [stored.candidates[0], second],
        }
    )


def test_another_workload_cannot_be_smuggled_into_a_run(stored: FlywheelConfig) -> None:
    assert resume("--workload", "w", "--client", "c")[0] == stored
    with pytest.raises(ConfigError, match=r"workload 'w' of client 'c'.* without --resume"):
        resume("--workload", "other")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--eval-size", "8"], "data_split_config.eval_size"),
        (["--logs", "/var/other"], "logs.path"),
        (["--set", "redaction_config.enabled=true"], "redaction_config.enabled"),
    ],
)
def test_a_rerun_refuses_settings_of_the_data_which_it_could_only_pass_over(
    stored: FlywheelConfig, given: list[str], named: str
) -> None:
    def rerun(*options: str) -> FlywheelConfig:
        arguments = build_parser().parse_args(["run", "--rerun", "0123", *options])
        return settings_of_run("0123", arguments, "--rerun")[0]

    with pytest.raises(ConfigError, match=f"{named} cannot be changed in a rerun"):
        rerun(*given)
    same = ["--logs", "/var/logs", "--eval-size", "7", "--set", "training_config.epochs=9"]
    assert rerun(*same).training_config.epochs == 9


def test_a_run_that_is_not_there_is_no_new_run(
    stored: FlywheelConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--resume", "0123456789ac"]) == 3
    assert "0123456789ab" in capsys.readouterr().err


def test_an_interrupted_run_is_offered_for_resuming_only_if_it_was_written_down(
    stored: FlywheelConfig, tmp_path: Path
) -> None:
    here = ConnectionsConfig(home=str(tmp_path))
    assert how_to_go_on(here, "0123456789ab") == "go on with --resume 0123456789ab"
    assert how_to_go_on(here, "ba9876543210") == "the run had not begun"
    nobody_knows = here.model_copy(update={"home": "/dev/null/nowhere"})
    assert "--resume" in how_to_go_on(nobody_knows, "0123456789ab")
