from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from flywheel.errors import ScoringError
from flywheel.evaluation.scoring import (
    METRICS,
    TOOL_METRICS,
    candidate_message,
    primary_metric,
    score_answer,
    scored,
    uses_tools,
)
from flywheel.evaluation.text_metrics import TEXT_METRICS
from flywheel.results import Prediction
from tests.fakes.chat_server import completion
from tests.unit.evaluation.cases import calls, item, text

BERLIN = calls(("get_weather", '{"city": "Berlin"}'))


def test_a_tool_reference_is_scored_by_its_calls() -> None:
    right = score_answer(item(BERLIN), calls(("get_weather", {"city": "Berlin", "days": 1})))
    assert right == dict.fromkeys(TOOL_METRICS, 1.0)
    wrong = score_answer(item(BERLIN), calls(("get_weather", {"city": "Bonn"})))
    assert wrong == {"function_name": 1, "function_name_and_args_accuracy": 0, "tool_call_partial": 0.5}


def test_every_call_counts_not_only_the_first() -> None:
    two = calls(("get_weather", {"city": "Berlin"}), ("track_order", {"id": "7"}))
    assert score_answer(item(two), BERLIN)["function_name_and_args_accuracy"] == 0
    assert score_answer(item(BERLIN), two)["function_name_and_args_accuracy"] == 0
    reversed_order = calls(("track_order", '{"id": "7"}'), ("get_weather", '{"city": "Berlin"}'))
    assert score_answer(item(two), reversed_order)["function_name_and_args_accuracy"] == 1


def test_a_model_that_calls_a_tool_when_it_should_not_is_penalised() -> None:
    scores = score_answer(item(text("Good morning!")), BERLIN)
    assert scores == dict.fromkeys(METRICS, 0.0)


def test_a_plain_answer_to_a_plain_reference_gets_call_and_text_scores() -> None:
    scores = score_answer(item(text("Good morning!")), text("Good morning!"))
    assert scores == dict.fromkeys(METRICS, 1.0)


def test_a_plain_answer_where_a_call_was_wanted_is_wrong() -> None:
    assert score_answer(item(BERLIN), text("It is sunny.")) == dict.fromkeys(TOOL_METRICS, 0.0)


def test_a_workload_without_tools_is_scored_by_text_alone() -> None:
    items = [item(text("a"), tools=[]), item(text("b"), "i1", tools=[])]
    assert not uses_tools(items)
    assert primary_metric(items) == "rouge_l"
    assert tuple(score_answer(items[0], text("a"), tool_metrics=False)) == TEXT_METRICS


def test_one_tool_call_does_not_hide_the_plain_answers() -> None:
    items = [item(BERLIN), *(item(text("hello"), f"p{i}") for i in range(99))]
    assert primary_metric(items) == "function_name_and_args_accuracy"
    assert all("function_name" in score_answer(each, text("hello")) for each in items)
    assert all("rouge_l" in score_answer(each, text("hello")) for each in items[1:])


@pytest.mark.parametrize("empty", [text(""), text(None), text(" \n")])
def test_an_empty_answer_is_wrong_not_unscored(empty: dict[str, Any]) -> None:
    assert score_answer(item(BERLIN), empty) == dict.fromkeys(TOOL_METRICS, 0.0)
    assert score_answer(item(text("hello")), empty) == dict.fromkeys(METRICS, 0.0)


@pytest.mark.parametrize(
    "response",
    [
        None,
        {},
        {"choices": []},
        {"choices": None},
        {"choices": ["x"]},
        {"choices": [{"message": None}]},
        {"error": "x"},
    ],
)
def test_what_is_no_answer_is_unscored_never_zero(response: Any) -> None:
    assert score_answer(item(BERLIN), response) == dict.fromkeys(TOOL_METRICS)
    assert score_answer(item(text("hello")), response) == dict.fromkeys(METRICS)
    with pytest.raises(ScoringError):
        candidate_message(response)
    prediction = scored(item(BERLIN), Prediction("i0", response))
    assert prediction.error


def test_the_first_choice_is_the_answer() -> None:
    several = completion("no")
    several["choices"] += BERLIN["choices"]
    assert score_answer(item(BERLIN), several)["function_name"] == 0


def test_a_reference_in_a_later_choice_is_found() -> None:
    reference = completion("")
    reference["choices"] += BERLIN["choices"]
    assert score_answer(item(reference), BERLIN) == dict.fromkeys(TOOL_METRICS, 1.0)


def test_an_answer_that_was_cut_off_is_scored_and_its_finish_reason_kept() -> None:
    cut = completion("Good mor")
    cut["choices"][0]["finish_reason"] = "length"
    prediction = scored(item(text("Good morning")), Prediction("i0", cut))
    assert prediction.finish_reason == "length"
    assert prediction.scores["exact_match"] == 0


def test_a_scored_prediction_holds_calls_and_tokens() -> None:
    prediction = scored(item(BERLIN), Prediction("i0", calls(("a", '{"x": 1}'), ("b", "{broken"))))
    assert prediction.tool_calls == [
        {"name": "a", "arguments": {"x": 1}},
        {"name": "b", "arguments": "{broken"},
    ]
    assert (prediction.tokens_in, prediction.tokens_out) == (11, 3)


@pytest.mark.parametrize("usage", [None, {}, "much", {"prompt_tokens": "11", "completion_tokens": True}])
def test_usage_that_is_not_given_is_not_invented(usage: Any) -> None:
    prediction = scored(item(BERLIN), Prediction("i0", {**BERLIN, "usage": usage}))
    assert (prediction.tokens_in, prediction.tokens_out) == (None, None)


def test_scoring_changes_nothing_that_it_is_given() -> None:
    question, answer = item(BERLIN), copy.deepcopy(BERLIN)
    before = msgspec.json.encode([question, answer])
    scored(question, Prediction("i0", answer))
    assert msgspec.json.encode([question, answer]) == before


@pytest.mark.parametrize(
    ("told", "mean"),
    [
        ({"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}]}, -1.0),
        ({"content": None, "token_logprobs": [None, -2.0]}, -2.0),
        ({"content": []}, None),
        ({"content": [{"token": "a", "logprob": float("nan")}, {"token": "b"}, -7.0, True]}, -7.0),
        ("loud", None),
        (None, None),
    ],
)
def test_how_sure_the_answer_was_is_kept_where_the_endpoint_told_it(told: Any, mean: float | None) -> None:
    response = text("sunny")
    response["choices"][0]["logprobs"] = told
    assert scored(item(text("sunny")), Prediction("i0", response)).mean_logprob == mean
