"""A part of the flywheel, from the command line."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from flywheel.cli.main import build_parser, main
from flywheel.cli.run import JUDGE_AGAIN, part_of_arguments
from flywheel.rerun import EVERYTHING, PartConfig


def part(*words: str) -> PartConfig:
    return part_of_arguments(build_parser().parse_args(["run", *words]))


def test_flags_name_the_run_the_candidates_and_the_stages() -> None:
    asked = part("--rerun", "r1", "--only", "a", "--only", "b", "--stage", "fine-tune", "--stage", "judge")
    assert asked == PartConfig(of_run="r1", only_candidates=["a", "b"], stages=["fine-tune", "judge"])
    assert part() == EVERYTHING


def test_the_example_of_the_help_judges_an_earlier_run_again() -> None:
    asked = part(*shlex.split(JUDGE_AGAIN)[2:])
    assert asked == PartConfig(of_run="3f2a", stages=["judge"])
    assert asked.judges_alone


def test_stages_without_what_they_build_on_are_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = ["--logs", str(tmp_path), "--workload", "w", "--client", "c"]
    assert main(["run", *log, "--stage", "judge"]) == 2
    assert "--rerun" in capsys.readouterr().err


def test_a_rerun_of_a_run_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    assert main(["run", "--rerun", "nope", "--stage", "judge"]) == 3
    assert "There is no run 'nope'" in capsys.readouterr().err
