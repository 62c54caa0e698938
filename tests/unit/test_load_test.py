"""Arrivals keep the rate and the seed; figures count from when a request was due."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.errors import ConfigError
from flywheel.findings.analysis import LoadTest
from flywheel.load_test import (
    Sample,
    average_rate,
    log_arrivals,
    poisson_arrivals,
    production_rate,
    summed_up,
)
from flywheel.results import RunResult


def figures(samples: list[Sample], **targets: Any) -> LoadTest:
    return summed_up(
        samples,
        candidate="c",
        endpoint="e",
        model="m",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        arrivals="poisson",
        rate=1,
        seconds=1,
        **targets,
    )


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_poisson_arrivals_ascend_within_the_time_and_repeat_with_the_seed(seed: int) -> None:
    due = poisson_arrivals(5, 20, seed)
    assert due == sorted(due)
    assert all(0 < at < 20 for at in due)
    assert due == poisson_arrivals(5, 20, seed)


def test_poisson_arrivals_have_the_mean_and_the_spread_of_their_rate() -> None:
    counts = [len(poisson_arrivals(10, 10, seed)) for seed in range(300)]
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / (len(counts) - 1)
    assert mean == pytest.approx(100, abs=2.5)
    assert 75 < variance < 130


def test_the_logs_own_gaps_keep_their_bursts_at_the_rate_that_was_asked() -> None:
    bursts = [minute * 60 + second for minute in range(50) for second in (0, 1, 2)]
    due = log_arrivals(bursts, rate=2, seconds=60, seed=3)
    assert len(due) == pytest.approx(120, rel=0.15)
    gaps = sorted(later - earlier for earlier, later in pairwise(due))
    assert gaps[len(gaps) // 2] < 0.1 * max(gaps)


def test_a_log_of_one_moment_has_no_gaps_to_replay() -> None:
    with pytest.raises(ConfigError, match="poisson"):
        log_arrivals([5.0, 5.0, 5.0], rate=1, seconds=10, seed=0)
    assert average_rate([5.0, 5.0]) is None
    assert average_rate([0.0, 10.0, 20.0]) == 0.1


@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (-1, 1), (float("inf"), 1), (1, 0), (1, float("nan"))])
def test_a_rate_or_a_time_that_is_none_is_refused(rate: float, seconds: float) -> None:
    with pytest.raises(ConfigError):
        poisson_arrivals(rate, seconds, 0)


def test_errors_and_late_requests_are_counted_and_targets_are_held_against_both() -> None:
    samples = [Sample(0.0, 100.0)] * 97 + [Sample(0.5, 900.0)] + [Sample(0.0, 50.0, "refused")] * 2
    test = figures(samples, target_p95_ms=500, target_error_share=0.01)
    assert (test.sent, test.answered, test.errors, test.late) == (100, 98, 2, 1)
    assert (test.latency_ms_p50, test.latency_ms_p95) == (100.0, 100.0)
    assert test.most_common_errors == {"refused": 2}
    assert test.passed is False
    assert figures(samples, target_p95_ms=500, target_error_share=0.02).passed is True
    assert figures(samples, target_p95_ms=99).passed is False
    assert figures(samples).passed is None


def test_nothing_answered_meets_no_target_and_has_no_percentiles() -> None:
    test = figures([Sample(0.0, 1.0, "refused")], target_p95_ms=500)
    assert test.passed is False
    assert test.latency_ms_p95 is None


def test_production_is_as_busy_as_the_whole_log_says_and_not_as_the_records_that_were_kept() -> None:
    day = [second * 10.0 for second in range(8_640)]
    run = RunResult("r", "w", "c", "completed", "", funnel={"read": 8_640})
    assert production_rate(day, run) == pytest.approx(0.1)
    one_wrong_clock = [*day, 4e9]
    assert production_rate(one_wrong_clock, run) == pytest.approx(0.1, rel=0.01)
    half_were_refused = msgspec.structs.replace(run, funnel={"read": 17_280})
    assert production_rate(day, half_were_refused) == pytest.approx(0.2)
    a_fifth_was_read = msgspec.structs.replace(run, config={"logs": {"traffic_share": 0.2}})
    assert production_rate(day, a_fifth_was_read) == pytest.approx(0.5)


def test_of_a_log_of_minutes_the_rate_is_the_average_over_its_span() -> None:
    run = RunResult("r", "w", "c", "completed", "", funnel={"read": 6})
    assert production_rate([0.0, 10.0, 20.0], run) == pytest.approx(0.2)  # three of six were refused
    assert production_rate([5.0], run) is None
