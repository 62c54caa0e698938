"""What is used, what is expected, and what does not fit any more."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.config import BudgetConfig, CandidateConfig, PriceConfig
from flywheel.results import CandidateResult, Customization, Evaluation, RunResult, Usage, Used
from flywheel.scheduling.budgets import expected_use, gpu_use, in_month_of, refusal, used_by

ALPHA = CandidateConfig(name="alpha", model="m")
BY_HOUR = [PriceConfig(model="m", gpu_hour=3.0)]
BY_TOKEN = [PriceConfig(model="m", input_per_1k=1.0, output_per_1k=2.0, fine_tune_per_1k=0.5)]
HOURS = st.floats(0, 1_000)


def run_of(status: str = "completed", **more: object) -> RunResult:
    evaluation = Evaluation("base-eval", "m", usage=Usage(tokens_in=10_000, tokens_out=1_000))
    tuned = Customization(job="j", status="completed", tokens=4_000)
    result = CandidateResult("alpha", "m", "completed", [evaluation], tuned)
    return RunResult("r", "w", "c", status, "2026-06-15T10:00:00+00:00", candidates=[result], **more)  # type: ignore[arg-type]


def test_gpu_time_is_slots_times_time_at_the_price_of_an_hour() -> None:
    assert gpu_use(ALPHA, BY_HOUR, slots=4, seconds=1_800) == Used(2.0, 6.0)
    assert gpu_use(ALPHA, [], slots=4, seconds=1_800) == Used(2.0, None)
    assert gpu_use(ALPHA, [], slots=0, seconds=1_800) == Used(0.0, 0.0)


def test_a_candidate_is_expected_to_use_what_it_used_the_last_time() -> None:
    before = run_of(used={"alpha": Used(0.25, 0.75)})
    budget = BudgetConfig(expected_gpu_hours=5)
    assert expected_use(ALPHA, 2, budget, BY_HOUR, [before]).gpu_hours == 0.25
    assert expected_use(ALPHA, 2, budget, BY_HOUR, []) == Used(10.0, 30.0)
    other = ALPHA.model_copy(update={"model": "another"})
    assert expected_use(other, 2, budget, [], [before]) == Used(10.0, None)


def test_tokens_that_were_asked_and_trained_on_are_paid_for() -> None:
    assert used_by(run_of(), {"alpha": ALPHA}, BY_TOKEN).money == 10 * 1.0 + 1 * 2.0 + 4 * 0.5


def test_what_a_rerun_took_over_is_paid_for_in_the_run_that_did_it() -> None:
    usage = Usage(tokens_in=10_000)
    before = Evaluation("base-eval", "m", usage=usage, started_at="2026-06-14T10:00:00+00:00")
    again = Evaluation("icl-eval", "m", usage=usage, started_at="2026-06-15T10:00:01+00:00")
    tuned = Customization(job="j", status="completed", tokens=4_000)
    results = [CandidateResult("alpha", "m", "completed", [before, again], tuned)]

    def money(**part: object) -> float | None:
        run = RunResult(
            "r", "w", "c", "completed", "2026-06-15T10:00:00+00:00", candidates=results, part=part
        )
        return used_by(run, {"alpha": ALPHA}, BY_TOKEN).money

    assert money() == 10 + 10 + 2
    assert money(of_run="q", stages=["icl-eval"]) == 10
    assert money(of_run="q", only_candidates=["alpha"]) == 10 + 2
    assert money(of_run="q", only_candidates=["beta"]) == 10


def test_a_rerun_of_single_stages_says_nothing_of_what_a_whole_candidate_needs() -> None:
    whole = run_of(used={"alpha": Used(2.0)})
    single = run_of(used={"alpha": Used(0.1)}, part={"of_run": "r", "stages": ["base-eval"]})
    assert expected_use(ALPHA, 1, BudgetConfig(), [], [single, whole]).gpu_hours == 2.0


def test_a_judge_is_expected_to_use_what_it_used_the_last_time() -> None:
    judge = CandidateConfig(name="judge of alpha", model="j", customize=False)
    again = run_of(used={"judge of alpha": Used(0.5)}, part={"of_run": "r", "stages": ["judge"]})
    prices = [PriceConfig(model="j", gpu_hour=4.0)]
    assert expected_use(judge, 2, BudgetConfig(), prices, [again]) == Used(0.5, 2.0)
    assert expected_use(judge, 2, BudgetConfig(), prices, [run_of()]) == Used(2.0, 8.0)


def test_what_is_set_aside_counts_while_the_run_is_running_and_no_longer() -> None:
    aside = {"beta": Used(7.0, 21.0)}
    assert used_by(run_of("running", expected=aside), {}, []).gpu_hours == 7.0
    assert used_by(run_of("failed", expected=aside), {}, []).gpu_hours == 0.0


def test_the_month_is_that_of_the_run_s_begin_in_utc() -> None:
    assert in_month_of(datetime(2026, 6, 30, 23, 59, tzinfo=UTC), run_of())
    assert not in_month_of(datetime(2026, 7, 1, tzinfo=UTC), run_of())


@given(HOURS, HOURS, HOURS)
def test_a_candidate_starts_exactly_if_it_fits(bound: float, used: float, need: float) -> None:
    budget = BudgetConfig(gpu_hours_per_month=bound)
    reason = refusal("alpha", Used(need, None), budget, Used(0.0, 0.0), Used(used, 0.0), "EUR")
    if need < bound - used:
        assert reason is None
    elif need > bound - used + 1e-6:
        assert reason is not None
        assert "budget_config.gpu_hours_per_month" in reason


def test_an_unknown_price_is_not_free_under_a_budget_of_money() -> None:
    budget = BudgetConfig(money_per_run=100)
    reason = refusal("alpha", Used(1.0, None), budget, Used(), Used(), "EUR")
    assert reason is not None
    assert "not known" in reason
    assert refusal("alpha", Used(1.0, 20.0), budget, Used(), Used(), "EUR") is None
    assert refusal("alpha", Used(1.0, None), BudgetConfig(), Used(), Used(), "EUR") is None


def test_the_sentence_says_what_is_needed_and_what_is_left() -> None:
    reason = refusal(
        "alpha", Used(1.0, 20.0), BudgetConfig(money_per_month=30), Used(), Used(1.0, 15.0), "EUR"
    )
    assert reason == (
        "Not started: alpha is expected to need 20 EUR, and of the month's 30 (budget_config.money_per_month) "
        "15 are left."
    )


@pytest.mark.parametrize(
    "bound", ["gpu_hours_per_run", "gpu_hours_per_month", "money_per_run", "money_per_month"]
)
def test_a_budget_of_nothing_lets_nothing_start(bound: str) -> None:
    budget = BudgetConfig.model_validate({bound: 0})
    assert budget.bounded
    assert refusal("alpha", Used(0.1, 0.1), budget, Used(), Used(), "EUR")
