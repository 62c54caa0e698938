from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from blocks.scoring.answer_tests import passes
from flywheel.config import CustomMetricConfig
from flywheel.errors import ConfigError, ScoringError
from flywheel.evaluation.aggregate import scores_of
from flywheel.evaluation.custom_metrics import Tally, load_metrics, score_of, with_functions
from flywheel.evaluation.user_functions import load_function
from flywheel.results import Prediction
from tests.unit.evaluation.cases import calls, item, text

ITEM = item(text("Hello there"), tools=[])
ANSWER = text("Hello")


def metric_file(folder: Path, body: str) -> str:
    path = folder / "own.py"
    path.write_text(body, encoding="utf-8")
    return f"{path}:metric"


def test_a_function_in_a_file_or_a_module_is_found(tmp_path: Path) -> None:
    assert load_function(metric_file(tmp_path, "def metric(a, b, c): return 1"))(1, 2, 3) == 1
    assert load_function("os.path:basename")("a/b") == "b"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nothing", "names no function"),
        (":f", "names no function"),
        ("os.path:", "names no function"),
        ("no.such.module:f", "cannot be imported"),
        ("/no/such/file.py:f", "cannot be imported"),
        ("os.path:no_such_function", "has no function"),
        ("os:sep", "has no function"),
    ],
)
def test_a_function_that_is_not_there_is_a_clear_error(name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_function(name)


def test_a_file_that_fails_on_import_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        load_function(metric_file(tmp_path, "1 / 0"))


def test_a_metric_cannot_take_a_built_in_name() -> None:
    with pytest.raises(ConfigError, match="rouge_l"):
        load_metrics([CustomMetricConfig(name="rouge_l", function="os.path:basename")])


@pytest.mark.parametrize(("said", "score"), [(1, 1.0), (True, 1.0), (False, 0.0), (0.25, 0.25), (None, None)])
def test_a_function_gives_a_score_a_truth_value_or_does_not_apply(said: Any, score: float | None) -> None:
    assert score_of(lambda request, reference, response: said, ITEM, ANSWER) == score


@pytest.mark.parametrize("said", [1.5, -0.1, float("nan"), float("inf"), "1", [1], {}])
def test_what_is_no_score_is_an_error(said: Any) -> None:
    with pytest.raises(ScoringError, match="no score"):
        score_of(lambda request, reference, response: said, ITEM, ANSWER)


def test_a_function_that_changes_what_it_is_given_changes_nothing() -> None:
    def vandal(request: dict[str, Any], reference: dict[str, Any], response: dict[str, Any]) -> float:
        request["messages"].clear()
        reference["choices"].clear()
        response["choices"].clear()
        return 1.0

    before = repr((ITEM, ANSWER))
    assert score_of(vandal, ITEM, ANSWER) == 1.0
    assert repr((ITEM, ANSWER)) == before


def test_a_failing_function_leaves_its_item_unscored_and_says_so_once() -> None:
    tally = Tally()
    found = with_functions(ITEM, Prediction("i0", ANSWER), {"own": lambda *_: 1 / 0}, tally)
    found = with_functions(ITEM, found, {"own": lambda *_: 1 / 0, "fine": lambda *_: None}, tally)
    assert found.scores == {"own": None}
    (sentence,) = tally.sentences()
    assert "failed on 2 answers" in sentence
    assert "ZeroDivisionError" in sentence
    assert with_functions(ITEM, Prediction("i0"), {"own": lambda *_: 1}, tally).scores == {"own": None}


def test_items_without_a_prediction_are_unscored_under_the_metrics_of_their_kind() -> None:
    plain = [item(text("a"), f"p{n}", tools=[]) for n in range(3)]
    called = [item(calls(("f", {})), f"c{n}", tools=[]) for n in range(2)]
    found = {
        "p0": Prediction("p0", ANSWER, scores={"own": 1.0, "graded": 0.5}),
        "p1": Prediction("p1", ANSWER, scores={"own": 0.0}),
        "c0": Prediction("c0", ANSWER, scores={}),
    }
    scores = scores_of([*plain, *called], found)
    assert (scores["own"].value, scores["own"].n, scores["own"].unscored) == (0.5, 2, 1)
    assert (scores["graded"].n, scores["graded"].unscored) == (1, 1)


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
    assert await passes(command(code), ITEM, ANSWER, 30) == score


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
        await passes(argv, ITEM, ANSWER, 30)


async def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(mark)!r}).touch()"
    code = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    )
    with pytest.raises(ScoringError, match="longer than 1 seconds"):
        await passes(command(code), ITEM, ANSWER, 1)
    await asyncio.sleep(2)
    assert not mark.exists()


async def test_a_command_sees_no_secret_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    assert await passes(
        command("import os; raise SystemExit('OPENAI_API_KEY' in os.environ)"), ITEM, ANSWER, 30
    )
