"""Which answers of earlier evaluations may stand for new ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.config import EvaluationConfig, PriceConfig
from flywheel.evaluation.aggregate import usage_of
from flywheel.evaluation.reuse import key_of, reusable, reuse_remarks, taken_over
from flywheel.report.usage import usage_rows
from flywheel.results import CandidateResult, EvalItem, Evaluation, Prediction, RunResult, Usage
from flywheel.scheduling.budgets import used_by

REPLAYED = EvaluationConfig()
COLD = EvaluationConfig(temperature=0)


def item(name: str = "i", text: str = "Hi", **request: Any) -> EvalItem:
    return EvalItem(name, {"messages": [{"role": "user", "content": text}], **request}, {}, name)


@pytest.mark.parametrize("temperature", [None, 0.7, 1, "0"])
def test_an_answer_that_is_left_to_chance_is_never_reused(temperature: object) -> None:
    assert key_of(item(temperature=temperature), REPLAYED) is None
    assert key_of(item(temperature=temperature), COLD) is not None  # the settings ask for none


def test_an_item_that_asked_for_temperature_0_itself_may_be_reused() -> None:
    assert key_of(item(temperature=0), REPLAYED) == key_of(item(temperature=0.0), REPLAYED) is not None
    assert key_of(EvalItem("i", {"messages": []}, {}, "i"), COLD) is None  # nothing is sent


@given(st.text(), st.text(), st.sampled_from(["max_tokens", "top_p", "seed", "stop", "tools"]))
def test_the_key_is_that_of_the_request_and_of_nothing_else(one: str, other: str, field: str) -> None:
    key = key_of(item("a", one, model="large", user="u"), COLD)
    assert key == key_of(item("b", one, model="small", stream=True), COLD)
    assert (key == key_of(item("a", other), COLD)) == (one == other)
    assert key != key_of(item("a", one, **{field: [1] if field == "tools" else 1}), COLD)
    assert key != key_of(item("a", one), COLD.model_copy(update={"max_tokens": 7}))
    assert key != key_of(item("a", one), COLD.model_copy(update={"logprobs": True}))


def test_an_answer_keeps_the_run_that_asked_and_brings_neither_scores_nor_times() -> None:
    answer = Prediction(
        "then", {"choices": []}, latency_ms=9.0, ttft_ms=3.0, scores={"rouge_l": 1.0}, attempts=3
    )
    key = key_of(item("then"), COLD)
    assert key is not None
    ((found, same),) = reusable([item("then"), item("x", "Ho")], {"then": answer}, COLD, {key})
    assert (found, same) == (key, answer)
    once = taken_over("now", same, "run-a")
    assert once == Prediction("now", {"choices": []}, attempts=0, reused="run-a")
    assert taken_over("later", once, "run-b").reused == "run-a"


def test_reused_answers_are_counted_with_their_tokens_and_no_latency_is_theirs() -> None:
    usage = usage_of(
        [
            Prediction("a", {}, latency_ms=100.0, tokens_in=5, tokens_out=1),
            Prediction("b", {}, tokens_in=7, tokens_out=2, reused="run"),
            Prediction("c", error="no answer"),
        ]
    )
    assert (usage.answered, usage.reused, usage.tokens_in, usage.tokens_out) == (2, 1, 12, 3)
    assert (usage.reused_tokens_in, usage.reused_tokens_out) == (7, 2)
    assert usage.latency_ms_p50 == usage.latency_ms_p95 == 100.0
    (remark,) = reuse_remarks(Evaluation("base-eval", "m", usage=usage))
    assert remark.startswith("1 of 2 answers are reused: ")
    assert remark.endswith("latencies are of the other 1.")
    assert reuse_remarks(Evaluation("base-eval", "m", usage=Usage(answered=2))) == []


def test_reused_answers_have_a_column_where_there_are_any_and_cost_no_tokens_again() -> None:
    prices = [PriceConfig(model="m", input_per_1k=1.0, output_per_1k=1.0)]

    def run(usage: Usage) -> RunResult:
        result = CandidateResult("a", "m", "completed", [Evaluation("base-eval", "m", usage=usage)])
        return RunResult("r", "w", "c", "completed", "2026-01-01T00:00:00Z", candidates=[result])

    some = run(
        Usage(
            answered=2, tokens_in=1_000, tokens_out=500, reused=1, reused_tokens_in=600, reused_tokens_out=100
        )
    )
    none = run(Usage(answered=2, tokens_in=1_000, tokens_out=500))
    assert usage_rows(some)[0]["reused"] == 1
    assert "reused" not in usage_rows(none)[0]
    assert used_by(some, {}, prices).money == pytest.approx(0.8)
    assert used_by(none, {}, prices).money == pytest.approx(1.5)
