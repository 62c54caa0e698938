from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from flywheel.verdicts.estimates import (
    Against,
    Apart,
    Estimate,
    Mean,
    Scored,
    items_to_decide,
    mean_of,
    paired,
    tail_above,
    tail_below,
)

TRIES = 300
GRADES = st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=2, max_size=15)


def scored(
    values: list[float | None], clusters: list[int] | None = None, weights: list[float] | None = None
) -> Scored:
    return Scored(values, clusters or list(range(len(values))), weights or [1.0] * len(values))


def hits(right: int, n: int) -> Mean:
    found = mean_of(scored([1.0] * right + [0.0] * (n - right)))
    assert found is not None
    return found


@pytest.mark.parametrize(("right", "n"), [(0, 7), (3, 10), (40, 40), (39, 40), (199, 200)])
def test_a_share_has_the_exact_interval_of_clopper_and_pearson(right: int, n: int) -> None:
    low, high = proportion_confint(right, n, alpha=0.05, method="beta")
    low, high = (0.0 if math.isnan(low) else low), (1.0 if math.isnan(high) else high)
    assert hits(right, n).bounds(0.025) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(("right", "n", "threshold"), [(38, 40, 0.9), (180, 200, 0.95), (29, 30, 0.7)])
def test_the_p_values_of_a_share_are_those_of_the_exact_binomial_test(
    right: int, n: int, threshold: float
) -> None:
    more = stats.binomtest(right, n, threshold, alternative="greater").pvalue
    less = stats.binomtest(right, n, threshold, alternative="less").pvalue
    if right / n > threshold:
        assert tail_above(hits(right, n), threshold) == pytest.approx(more, rel=1e-3)
    else:
        assert tail_below(hits(right, n), threshold) == pytest.approx(less, rel=1e-3)


def test_a_paired_difference_of_many_items_is_the_t_test_of_the_textbook() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.random(3000), generator.random(3000) * 0.9
    found = paired(scored(first.tolist()), scored(second.tolist()))
    assert found is not None
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert found.bounds(0.025) == pytest.approx((expected.low, expected.high), abs=1e-3)
    one_sided = stats.ttest_1samp(first - second, 0.03, alternative="greater").pvalue
    assert tail_above(found, 0.03) == pytest.approx(one_sided, rel=0.1)


def estimates(values: list[float], other: list[float]) -> list[Estimate]:
    mean, second = mean_of(scored([*values])), mean_of(scored([*other]))
    pair = paired(scored([*values]), scored([*other[: len(values)], *[0.5] * (len(values) - len(other))]))
    assert mean is not None
    assert second is not None
    assert pair is not None
    return [mean, Against(mean, 1.0), Apart(mean, second), pair]


@settings(deadline=None)
@given(GRADES, GRADES, st.floats(1e-6, 0.5), st.floats(1.0, 50.0))
def test_the_laws_of_bounds(values: list[float], other: list[float], tail: float, scale: float) -> None:
    for estimate in estimates(values, other):
        low, high = estimate.bounds(tail)
        assert low <= estimate.value + 1e-9
        assert high >= estimate.value - 1e-9
        wider_low, wider_high = estimate.bounds(tail / 2)
        assert wider_low <= low + 1e-9
        assert wider_high >= high - 1e-9
        if tail < 0.4:  # near one half a discrete share's limits lie beyond each other
            more_low, more_high = estimate.bounds(tail, scale)
            assert more_high - more_low <= high - low + 1e-6


@settings(max_examples=40, deadline=None)
@given(GRADES, GRADES, st.floats(-0.9, 0.9))
def test_what_is_sure_of_one_side_is_never_sure_of_the_other(
    values: list[float], other: list[float], threshold: float
) -> None:
    for estimate in estimates(values, other):
        above, below = tail_above(estimate, threshold), tail_below(estimate, threshold)
        assert max(above, below) >= 0.5 - 1e-6
        low, high = estimate.bounds(0.025)
        assert (above < 0.0249) <= (low > threshold)
        assert (below < 0.0249) <= (high < threshold)


def test_weights_that_are_alike_and_clusters_of_one_change_nothing() -> None:
    values: list[float | None] = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]
    assert mean_of(scored(values)) == mean_of(scored(values, weights=[7.0] * 6))


def test_an_item_that_stands_for_nearly_all_calls_leaves_nearly_everything_open() -> None:
    mean = mean_of(scored([1.0] * 30, weights=[1000.0] + [1.0] * 29))
    pair = paired(scored([1.0] * 30, weights=[1000.0] + [1.0] * 29), scored([0.0] * 30))
    assert mean is not None
    assert pair is not None
    assert mean.bounds(0.025)[0] < 0.05
    assert pair.bounds(0.025)[0] < -0.5


def test_items_that_repeat_each_other_do_not_add_certainty() -> None:
    values: list[float | None] = [1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0]
    alone, four_times = mean_of(scored(values)), mean_of(scored(values * 4, list(range(8)) * 4))
    assert alone is not None
    assert four_times is not None
    low, high = four_times.bounds(0.025)
    assert high - low >= 0.95 * (alone.bounds(0.025)[1] - alone.bounds(0.025)[0])


def covered(draw: Callable[[], tuple[Estimate | None, float]]) -> tuple[float, float]:
    """How often the truth lies below the lower, and above the upper limit."""
    below = above = 0
    for _ in range(TRIES):
        estimate, truth = draw()
        assert estimate is not None
        low, high = estimate.bounds(0.025)
        below += truth < low
        above += truth > high
    return below / TRIES, above / TRIES


@pytest.mark.parametrize("share", [0.7, 0.95])
@pytest.mark.parametrize("kind", ["plain", "clustered", "weighted", "graded"])
def test_intervals_of_a_score_miss_the_truth_as_rarely_as_they_say(share: float, kind: str) -> None:
    generator = np.random.default_rng(3)

    def draw() -> tuple[Estimate | None, float]:
        if kind == "clustered":
            of_cluster = generator.beta(2 * share, 2 * (1 - share), 25)
            values = (generator.random((25, 3)) < of_cluster[:, None]).astype(float).ravel()
            return mean_of(scored(values.tolist(), np.repeat(np.arange(25), 3).tolist())), share
        if kind == "graded":
            values = np.where(generator.random(50) < share, 1.0, generator.beta(2, 2, 50))
            return mean_of(scored(values.tolist())), share + (1 - share) / 2
        values = (generator.random(50) < share).astype(float)
        weights = np.ceil(generator.exponential(3, 50)).tolist() if kind == "weighted" else None
        return mean_of(scored(values.tolist(), weights=weights)), share

    # 300 tries at 2.5 % exceed 0.055 once in a thousand times.
    assert max(covered(draw)) <= 0.055


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_intervals_of_a_paired_difference_miss_the_truth_as_rarely_as_they_say(gap: float) -> None:
    generator = np.random.default_rng(4)

    def draw() -> tuple[Estimate | None, float]:
        hard = generator.random(60)
        other = (hard < 0.9).astype(float)
        candidate = (
            np.where(generator.random(60) < 0.1, 1 - other, other) if not gap else (hard < 0.8).astype(float)
        )
        truth = -gap if gap else 0.9 * 0.9 + 0.1 * 0.1 - 0.9
        return paired(scored(candidate.tolist()), scored(other.tolist())), truth

    assert max(covered(draw)) <= 0.055


def test_intervals_of_independent_estimates_miss_the_truth_as_rarely_as_they_say() -> None:
    generator = np.random.default_rng(5)

    def draw() -> tuple[Estimate | None, float]:
        mean = mean_of(scored((generator.random(60) < 0.85).astype(float).tolist()))
        noise = mean_of(scored((generator.random(40) < 0.95).astype(float).tolist()))
        assert mean is not None
        assert noise is not None
        return Apart(mean, noise), -0.1

    assert max(covered(draw)) <= 0.055


@pytest.mark.parametrize("truth", [0.99, 0.9])
def test_the_number_of_items_that_is_said_to_decide_does_so_as_often_as_promised(truth: float) -> None:
    generator = np.random.default_rng(6)
    seen = hits(round(truth * 100), 100)
    needed = items_to_decide(Against(seen, 1.0), -0.05, 0.025)
    assert needed is not None
    right = generator.binomial(needed, truth, 400)
    decided = 0
    for count in right.tolist():
        low, high = Against(hits(count, needed), 1.0).bounds(0.025)
        decided += low > -0.05 or high < -0.05
    assert 0.7 <= decided / 400 <= 0.97


def test_what_lies_on_the_threshold_itself_no_number_of_items_decides() -> None:
    assert items_to_decide(Against(hits(95, 100), 1.0), -0.05, 0.025) is None


def test_no_score_at_all_is_no_estimate() -> None:
    assert mean_of(scored([None, None])) is None
    assert paired(scored([None, 1.0]), scored([1.0, None])) is None
