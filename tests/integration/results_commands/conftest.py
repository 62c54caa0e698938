"""A home with runs, and the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flywheel.cli.main import main
from tests.integration.results_commands.stored_runs import store_run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two runs: 'first' is wrong on five of nine items, 'second' on two."""
    home = tmp_path / "home"
    monkeypatch.setenv("FLYWHEEL_HOME", str(home))
    store_run(home, "first", wrong=5)
    store_run(home, "second", wrong=2)
    return home


@pytest.fixture
def flywheel(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return call
