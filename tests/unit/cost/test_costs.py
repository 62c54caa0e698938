from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.config import PriceConfig
from flywheel.cost.costs import Way, costs_of
from flywheel.cost.kpis import kpis_of
from flywheel.cost.prices import Call, price_of
from flywheel.cost.traffic import DAYS_OF_A_MONTH, Traffic, calls_for_each_read, traffic_of
from flywheel.findings.analysis import Bounds, Costs
from flywheel.results import Customization

LARGE = PriceConfig(model="large", input_per_1k=0.01, output_per_1k=0.03)
SMALL = PriceConfig(model="small", input_per_1k=0.001, output_per_1k=0.002)
TRAFFIC = Traffic(per_month=100_000, days=10, interval=Bounds(80_000, 120_000))


def calls(
    model: str, tokens_in: int = 1000, tokens_out: int = 100, count: int = 10, **fields: Any
) -> list[Call]:
    return [
        Call(
            f"i{n}",
            model,
            f"c{n}",
            **{"tokens_in": tokens_in, "tokens_out": tokens_out, "latency_ms": 2000.0, **fields},
        )
        for n in range(count)
    ]


def way(**fields: Any) -> Way:
    return Way(
        **{
            "candidate": "a",
            "eval_type": "base-eval",
            "names": ["a", "small"],
            "calls": calls("small"),
            **fields,
        }
    )


def costs(way_: Way, *prices: PriceConfig, traffic: Traffic | None = TRAFFIC) -> Costs:
    return costs_of(way_, calls("large"), prices or (LARGE, SMALL), traffic)


def test_a_request_costs_its_tokens_at_their_prices() -> None:
    found = costs(way())
    assert found.per_request == pytest.approx(0.0012)
    assert found.production_per_request == pytest.approx(0.013)
    assert found.per_1k_tokens == pytest.approx(0.0012 / 1.1)
    assert found.production_per_1k_tokens == pytest.approx(0.013 / 1.1)
    assert found.missing == []


def test_savings_are_a_range_over_the_traffic() -> None:
    found = costs(way()).monthly_savings
    assert found is not None
    assert (found.low, found.high) == pytest.approx((80_000 * 0.0118, 120_000 * 0.0118))


def test_requests_that_cost_unlike_each_other_make_the_range_wider() -> None:
    uneven = [*calls("small", count=5), *calls("small", tokens_out=900)[5:]]
    even, wide = costs(way()).monthly_savings, costs(way(calls=uneven)).monthly_savings
    assert even is not None
    assert wide is not None
    assert wide.high - wide.low > even.high - even.low


def test_tokens_of_in_context_examples_are_paid_for() -> None:
    base = costs(way())
    icl = costs(way(eval_type="icl-eval", calls=calls("small", tokens_in=3000)))
    assert icl.per_request is not None
    assert base.per_request is not None
    assert icl.per_request - base.per_request == pytest.approx(2 * 0.001)


def test_a_price_that_is_not_given_is_missing_and_never_nothing() -> None:
    found = costs(way(), LARGE)
    assert (found.per_request, found.per_1k_tokens, found.monthly_savings) == (None, None, None)
    assert found.missing == ["price of small"]
    assert found.production_per_request == pytest.approx(0.013)
    found = costs(way(), SMALL)
    assert found.missing == ["price of large (production)"]
    assert found.per_request == pytest.approx(0.0012)
    assert found.monthly_savings is None


def test_what_is_free_costs_nothing_and_is_not_missing() -> None:
    found = costs(way(), LARGE, PriceConfig(model="small", input_per_1k=0, output_per_1k=0))
    assert (found.per_request, found.missing) == (0, [])


def test_answers_that_state_no_tokens_have_no_cost() -> None:
    found = costs(way(calls=calls("small", tokens_in=None)))  # type: ignore[arg-type]
    assert found.per_request is None
    assert found.missing == ["token counts"]
    assert found.test_time_compute is None


def test_some_answers_without_tokens_are_named_and_the_others_stand_for_them() -> None:
    some = [*calls("small")[:7], *calls("small", tokens_out=None)[7:]]  # type: ignore[arg-type]
    found = costs(way(calls=some))
    assert found.per_request == pytest.approx(0.0012)
    assert found.missing == ["token counts of 3 answers; the others stand for them"]


def test_no_answer_at_all_is_missing() -> None:
    assert "answers" in costs(way(calls=[])).missing


def test_hosted_gpus_cost_the_same_however_little_is_asked() -> None:
    hosted = PriceConfig(model="small", gpu_hour=2.0, gpus=2, gpu_hours_per_month=730)
    found = costs(way(), LARGE, hosted)
    assert found.per_request == pytest.approx(2920 / 100_000)
    assert found.monthly_savings is not None
    assert (found.monthly_savings.low, found.monthly_savings.high) == pytest.approx(
        (80_000 * 0.013 - 2920, 120_000 * 0.013 - 2920)
    )


def test_gpus_that_are_paid_by_time_cost_what_the_evaluation_took() -> None:
    found = costs(way(gpu_seconds=36.0), LARGE, PriceConfig(model="small", gpu_hour=2.0))
    assert found.per_request == pytest.approx(2.0 * 36 / 3600 / 10)
    unknown = costs(way(), LARGE, PriceConfig(model="small", gpu_hour=2.0))
    assert unknown.missing == ["gpu_hours_per_month of small"]


def test_without_traffic_nothing_is_said_of_a_month() -> None:
    found = costs(way(), traffic=None)
    assert found.monthly_savings is None
    assert found.per_request == pytest.approx(0.0012)
    assert any("traffic" in name for name in found.missing)


def test_calls_count_as_often_as_production_was_asked_them() -> None:
    cheap, dear = calls("small", count=1, weight=9.0)[0], calls("small", tokens_in=5000)[1]
    found = costs(way(calls=[cheap, dear]))
    assert found.per_request == pytest.approx(0.0012 * 0.9 + 0.0052 * 0.1)


def test_a_fine_tune_breaks_even_when_its_savings_have_paid_it() -> None:
    tuned = way(
        eval_type="customized-eval", customization=Customization(job="j", tokens=50_000, runtime_seconds=3600)
    )
    price = PriceConfig(
        model="small", input_per_1k=0.001, output_per_1k=0.002, fine_tune_per_1k=0.5, fine_tune=3
    )
    found = costs(tuned, LARGE, price)
    assert found.fine_tune == pytest.approx(28.0)
    assert found.break_even_days is not None
    assert found.break_even_days.low == pytest.approx(28 / (120_000 * 0.0118) * DAYS_OF_A_MONTH)
    assert found.break_even_days.high == pytest.approx(28 / (80_000 * 0.0118) * DAYS_OF_A_MONTH)
    by_time = costs(
        tuned, LARGE, PriceConfig(model="small", input_per_1k=0, output_per_1k=0, gpu_hour=3, gpus=2)
    )
    assert by_time.fine_tune == pytest.approx(6.0)
    assert "price of fine-tuning small" in costs(tuned).missing


def test_a_fine_tune_that_may_never_pay_has_no_break_even() -> None:
    tuned = way(eval_type="customized-eval", customization=Customization(job="j", tokens=1000))
    dear = PriceConfig(model="small", input_per_1k=1, output_per_1k=1, fine_tune=3)
    found = costs(tuned, LARGE, dear)
    assert found.monthly_savings is not None
    assert found.monthly_savings.high < 0
    assert found.break_even_days is None


def test_test_time_compute_is_tokens_times_seconds() -> None:
    found = costs(way(calls=calls("small", latency_ms=500.0)))
    assert found.test_time_compute == pytest.approx(1100 * 0.5)
    assert found.production_test_time_compute == pytest.approx(1100 * 2)


def test_the_nearest_price_counts() -> None:
    tuned = PriceConfig(model="small", applies_to="customized-eval", input_per_1k=9, output_per_1k=9)
    own = PriceConfig(model="a", input_per_1k=5, output_per_1k=5)
    assert price_of([SMALL, tuned], ["a", "small"], "customized-eval") == tuned
    assert price_of([SMALL, tuned], ["a", "small"], "base-eval") == SMALL
    assert price_of([SMALL, tuned, own], ["a", "small"], "customized-eval") == own
    assert price_of([SMALL], ["b"]) is None


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 5000), st.integers(0, 5000))
def test_the_point_saving_lies_within_its_range(price_in: float, price_out: float, a: int, b: int) -> None:
    price = PriceConfig(model="small", input_per_1k=price_in, output_per_1k=price_out)
    found = costs(way(calls=calls("small", a, b)), LARGE, price)
    assert found.monthly_savings is not None
    assert found.per_request is not None
    assert found.production_per_request is not None
    point = 100_000 * (found.production_per_request - found.per_request)
    assert found.monthly_savings.low - 1e-6 <= point <= found.monthly_savings.high + 1e-6


def test_a_steady_log_has_the_traffic_that_it_shows() -> None:
    times = 1_700_000_000 + 600.0 * np.arange(144 * 20)  # every ten minutes for twenty days
    found = traffic_of(times)
    assert found is not None
    assert found.per_month == pytest.approx(144 * DAYS_OF_A_MONTH)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(found.interval.high)


def test_days_that_differ_make_the_traffic_a_range_that_holds_it() -> None:
    generator = np.random.default_rng(0)
    hit = 0
    for _ in range(200):
        per_day = generator.poisson(100 * generator.gamma(10, 0.1, 12))
        times = np.concatenate(
            [day * 86_400 + np.sort(generator.random(n)) * 86_400 for day, n in enumerate(per_day)]
        )
        found = traffic_of(times)
        assert found is not None
        assert found.interval is not None
        hit += found.interval.low <= 100 * DAYS_OF_A_MONTH <= found.interval.high
    assert hit / 200 >= 0.9


def test_one_wrong_clock_does_not_stretch_the_log_by_years() -> None:
    times = np.concatenate([[0.0], 1_700_000_000 + 60.0 * np.arange(4000), [math.nan]])
    found = traffic_of(times)
    assert found is not None
    assert found.per_month == pytest.approx(1440 * DAYS_OF_A_MONTH, rel=0.01)


@pytest.mark.parametrize("times", [[], [5.0], [math.nan, 5.0], [0.0, 600.0]])
def test_of_less_than_an_hour_nothing_is_said(times: list[float]) -> None:
    assert traffic_of(np.array(times)) is None


def test_a_sample_stands_for_what_was_not_read() -> None:
    funnel = {"read": 120, "over_limit": 880}
    assert calls_for_each_read(funnel, 100, 0.5, newest=True) == pytest.approx(2.4)
    assert calls_for_each_read(funnel, 100, 0.5, newest=False) == pytest.approx(20.0)


def test_kpis_take_the_cheapest_surfaced_way() -> None:
    found = kpis_of([costs(way())], [], "2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+00:00", 0.9)
    assert (found.cost_per_1k_after, found.turn_around_seconds, found.share_instrumented) == (None, 3600, 0.9)
    assert found.cost_per_1k_before == pytest.approx(0.013 / 1.1)
