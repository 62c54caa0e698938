"""Functions of the user's own that score answers: found by name, called safely, counted where they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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
