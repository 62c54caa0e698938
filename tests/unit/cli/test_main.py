"""Exit codes and messages of the command, from outside."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest


def flywheel(*words: str, home: Path | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    import os

    env = {**os.environ, "FLYWHEEL_HOME": str(home or "/nonexistent")}
    return subprocess.run(
        [sys.executable, "-m", "flywheel.cli.main", *words],
        capture_output=True,
        text=True,
        env=env,
        timeout=300,
    )


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["curate", "--help"], ["score", "--help"]])
def test_help_comes_in_a_moment_and_shows_an_example(words: list[str]) -> None:
    best = 10.0
    for _ in range(3):
        before = computed_by_children()
        shown = flywheel(*words)
        best = min(best, computed_by_children() - before)
        if best < 1.0:
            break
    assert shown.returncode == 0
    assert len(words) == 1 or "Example:" in shown.stdout
    assert best < 1.0  # a fifth of a second here; an import of Prefect alone is five


def computed_by_children() -> float:
    """Seconds of processor time, which do not depend on what else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_misspelt_command_is_a_usage_error() -> None:
    shown = flywheel("cruate")
    assert shown.returncode == 2
    assert "Traceback" not in shown.stderr


def test_a_missing_log_names_it_and_exits_3(tmp_path: Path) -> None:
    shown = flywheel(
        "curate",
        "--logs",
        str(tmp_path / "none"),
        "--workload",
        "w",
        "--client",
        "c",
        "--out",
        str(tmp_path / "o"),
    )
    assert shown.returncode in {2, 3}
    assert "none" in shown.stderr
    assert "Traceback" not in shown.stderr
    assert not (tmp_path / "o").exists()


def test_a_run_tells_of_a_missing_log_before_it_asks_or_starts_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "PREFECT_API_URL", "http://127.0.0.1:9/api"
    )  # nobody is there: asked, it would end with 4
    words = ["run", "--logs", str(tmp_path / "none"), "--workload", "w", "--client", "c"]
    shown = flywheel(*words, "--set", "candidates=[{model: m}]", home=tmp_path / "home")
    assert shown.returncode == 3
    assert "there is no log at" in shown.stderr
    assert shown.stdout == ""


def test_an_unknown_setting_is_a_sentence_that_names_the_nearest(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("{}\n")
    shown = flywheel(
        "curate",
        "--logs",
        str(log),
        "--workload",
        "w",
        "--client",
        "c",
        "--out",
        str(tmp_path / "o"),
        "--set",
        "data_split_config.eval_siez=5",
    )
    assert shown.returncode == 2
    assert "eval_size" in shown.stderr


def test_a_run_that_does_not_exist_is_data_missing_and_exits_3(tmp_path: Path) -> None:
    shown = flywheel("results", "nope", home=tmp_path)
    assert shown.returncode == 3
    assert "nope" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_no_runs_yet_is_an_empty_list_for_programs(tmp_path: Path) -> None:
    shown = flywheel("runs", "--json", home=tmp_path)
    assert shown.returncode == 0
    assert json.loads(shown.stdout) == []


def test_a_read_only_home_is_a_clear_error() -> None:
    shown = flywheel("runs", home=Path("/proc/flywheel"))
    assert shown.returncode != 0
    assert "/proc/flywheel" in shown.stderr
    assert "Traceback" not in shown.stderr
