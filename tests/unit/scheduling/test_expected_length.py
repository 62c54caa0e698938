"""How long a candidate may take: as long as last time, else as its size and its rows let expect."""

from __future__ import annotations

import pytest

from flywheel.config import CandidateConfig
from flywheel.results import CandidateResult, Customization, Evaluation, RunResult
from flywheel.scheduling.expected_length import (
    Amount,
    billions_of_parameters,
    estimated_seconds,
    seconds_of_last_time,
    seconds_of_training,
)

AMOUNT = Amount(trained=2_000, asked=300)


def _result(name: str, seconds: float, status: str = "completed") -> CandidateResult:
    return CandidateResult(
        candidate=name,
        model_name="small",
        status=status,  # type: ignore[arg-type]
        evaluations=[Evaluation("base-eval", "small", runtime_seconds=seconds)],
        customization=Customization(job="job", runtime_seconds=100.0),
    )


def test_a_candidate_is_expected_to_take_as_long_as_last_time() -> None:
    newest_first = [_result("other", 50.0), _result("mine", 20.0), _result("mine", 900.0)]
    assert seconds_of_last_time(newest_first, "mine", "small") == 120.0
    assert seconds_of_last_time(newest_first, "new", "small") == 150.0


def test_a_model_that_was_never_seen_to_its_end_has_no_last_time() -> None:
    assert seconds_of_last_time([_result("mine", 3.0, "failed")], "mine", "small") is None
    assert seconds_of_last_time([_result("mine", 3.0)], "mine", "large") is None


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("meta/llama-3.1-8b-instruct", 8),
        ("meta-llama/Llama-3.2-1B", 1),
        ("Qwen/Qwen2.5-0.5B-Instruct", 0.5),
        ("demo:smollm2-135m", 0.135),
        ("mistralai/mixtral-8x7b-instruct-v0.1", 56),
        ("nvidia/nemotron-4-340b", 340),
        ("/models/adapters/70B-of-mine", 70),
        ("gpt-4o-mini", None),
        ("phi-3.5", None),
        ("code-v2base", None),
    ],
)
def test_a_models_name_says_its_size(model: str, billions: float | None) -> None:
    assert billions_of_parameters(model) == billions


def test_what_is_larger_or_has_more_to_do_is_expected_to_take_longer() -> None:
    small = CandidateConfig(model="llama-1b", gpus=1)
    assert estimated_seconds(small, AMOUNT) < estimated_seconds(CandidateConfig(model="llama-8b"), AMOUNT)
    assert estimated_seconds(small, AMOUNT) < estimated_seconds(small, Amount(trained=4_000, asked=300))
    assert estimated_seconds(small, Amount(trained=0, asked=300)) < estimated_seconds(small, AMOUNT)
    assert estimated_seconds(CandidateConfig(model="llama-1b", gpus=4), AMOUNT) < estimated_seconds(
        small, AMOUNT
    )
    assert estimated_seconds(CandidateConfig(model="m-8b", gpus=0), AMOUNT) > 0


def test_a_training_is_expected_to_take_as_long_by_the_row_as_the_newest_whole_one_of_its_model() -> None:
    def run(customization: Customization, **settings: object) -> RunResult:
        result = CandidateResult("mine", "small", "completed", customization=customization)
        config = {"training_config": {"epochs": 4}, "candidates": [{"name": "mine", **settings}]}
        return RunResult(
            "r", "w", "c", "completed", "2026-01-01T00:00:00Z", candidates=[result], config=config
        )

    whole = Customization("j", status="completed", train_rows=50, runtime_seconds=400.0)
    cut = Customization("j", status="completed", train_rows=50, runtime_seconds=5.0, cut="stopped")
    failed = Customization("j", status="failed", train_rows=50, runtime_seconds=5.0)
    candidate = CandidateConfig(name="new", model="small")
    earlier = [run(cut), run(failed), run(whole), run(whole, training_config={"epochs": 1})]
    assert seconds_of_training(candidate, 100, 3, earlier) == 400 / (50 * 4) * 300
    assert seconds_of_training(candidate, 100, 3, earlier[3:]) == 400 / 50 * 300
    by_size = CandidateConfig(name="new", model="org/model-8b", training_gpus=2)
    assert seconds_of_training(by_size, 1_000, 2, earlier) == pytest.approx(
        6 * 8e9 * 2_000 * 1_000 / 2 / 1e14
    )
