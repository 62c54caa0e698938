"""A command of the user's own tests an answer: what it is told, and what its end says."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from blocks.local_platform.processes import ProcessRef
from blocks.scoring.answer_tests import passes
from flywheel.errors import ScoringError
from tests.unit.evaluation.cases import item, text

ITEM = item(text("Hello there"), tools=[])
ANSWER = text("Hello")


def command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("code", "score"),
    [
        ("", 1.0),
        ("raise SystemExit(1)", 0.0),
        ("print('{\"score\": 0.25}')", 0.25),
        ("print('ran 3 tests\\nall fine')", 1.0),
        ("import json, sys; d = json.load(sys.stdin); raise SystemExit(d['text'] != 'Hello')", 1.0),
        (
            "import json, sys; d = json.load(sys.stdin); raise SystemExit(sorted(d) != "
            "['id', 'reference', 'request', 'response', 'text'])",
            1.0,
        ),
        ("print('x' * 1_000_000)", 1.0),
    ],
)
async def test_a_command_passes_or_fails_an_answer(code: str, score: float) -> None:
    assert await passes(command(code), ITEM, ANSWER, 300) == score


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["/no/such/program"], "cannot be started"),
        (command("raise SystemExit(2)"), "exit code 2"),
        (command("print('{\"score\": 7}')"), "no score"),
        (command("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"), "exit code -11"),
    ],
)
async def test_a_command_that_cannot_tell_leaves_the_answer_unscored(argv: list[str], why: str) -> None:
    with pytest.raises(ScoringError, match=why):
        await passes(argv, ITEM, ANSWER, 300)


async def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    child = (
        f"import os, time, pathlib; pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); time.sleep(600)"
    )
    code = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
    )
    for seconds in (1, 5, 25):
        with pytest.raises(ScoringError, match=f"longer than {seconds} seconds"):
            await passes(command(code), ITEM, ANSWER, seconds)
        if mark.exists() and mark.read_text():
            break  # else the machine was too slow to start it in that time
    for _ in range(600):
        started = ProcessRef.of(int(mark.read_text()))
        if started is None or not started.is_alive():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("what it started lives on")


async def test_a_command_sees_no_secret_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    assert await passes(
        command("import os; raise SystemExit('OPENAI_API_KEY' in os.environ)"), ITEM, ANSWER, 30
    )
