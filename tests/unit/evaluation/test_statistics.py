from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flywheel.errors import ScoringError
from flywheel.evaluation.statistics import mean_score, paired_difference

SCORES = st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=12)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (3, 10), (10, 10), (0, 7), (199, 200)])
def test_a_share_has_the_wilson_interval_of_the_textbook(hits: int, n: int) -> None:
    score = mean_score([1.0] * hits + [0.0] * (n - hits), binary=True)
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert score.interval is not None
    assert (score.interval.low, score.interval.high) == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )


def test_unscored_items_are_counted_and_never_zeros() -> None:
    score = mean_score([1.0, None, 1.0, None], binary=True)
    assert (score.value, score.n, score.unscored) == (1.0, 2, 2)


@pytest.mark.parametrize("values", [[], [None], [None, None]])
def test_no_scored_item_means_no_value_and_no_interval(values: list[None]) -> None:
    score = mean_score(values)
    assert (score.value, score.interval, score.n, score.unscored) == (None, None, 0, len(values))


@given(SCORES, st.booleans(), st.sampled_from([0.8, 0.95, 0.99]))
def test_an_interval_holds_its_mean_and_stays_within_the_scale(
    values: list[float | None], clustered: bool, level: float
) -> None:
    score = mean_score(values, [i // 2 for i in range(len(values))] if clustered else None, level=level)
    if score.interval is not None and score.value is not None:
        assert 0 <= score.interval.low <= score.value <= score.interval.high <= 1
        assert score.interval.level == level


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_few_scores_that_agree_are_not_certainty(value: float, n: int) -> None:
    interval = mean_score([value] * n).interval
    assert interval is not None
    assert interval.high - interval.low > 0.3


def test_clusters_of_one_change_nothing() -> None:
    values = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]
    assert mean_score(values, list("abcdef"), binary=True) == mean_score(values, binary=True)


def test_items_that_repeat_each_other_do_not_add_certainty() -> None:
    values = [1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0]
    alone = mean_score(values, list(range(8)), binary=True).interval
    four_times = mean_score(values * 4, list(range(8)) * 4, binary=True).interval
    naive = mean_score(values * 4, binary=True).interval
    assert alone is not None
    assert four_times is not None
    assert naive is not None
    assert four_times.high - four_times.low >= alone.high - alone.low
    assert naive.high - naive.low < alone.high - alone.low


def test_one_cluster_alone_says_nothing_about_others() -> None:
    interval = mean_score([1.0, 0.0, 1.0], ["a", "a", "a"], binary=True).interval
    assert interval is not None
    assert (interval.low, interval.high) == (0, 1)


def test_weights_move_the_mean_and_cost_certainty() -> None:
    values, weights = [1.0, 0.0, 1.0, 0.0, 1.0, 1.0], [10.0, 1, 1, 1, 1, 1]
    even, weighted = mean_score(values, binary=True), mean_score(values, weights=weights, binary=True)
    assert weighted.value == pytest.approx(13 / 15)
    assert even.interval is not None
    assert weighted.interval is not None
    assert weighted.interval.high - weighted.interval.low > even.interval.high - even.interval.low


def test_an_item_of_weight_zero_does_not_count() -> None:
    assert mean_score([1.0, 0.0], weights=[1, 0], binary=True).n == 1


def coverage(draw: Callable[[], tuple[list[float], list[int] | None]], truth: float, binary: bool) -> float:
    hits = 0
    for _ in range(400):
        values, clusters = draw()
        interval = mean_score(values, clusters, binary=binary).interval
        assert interval is not None
        hits += interval.low <= truth <= interval.high
    return hits / 400


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_intervals_cover_the_truth_as_often_as_they_say(share: float) -> None:
    generator = np.random.default_rng(0)

    def plain() -> tuple[list[float], None]:
        return (generator.random(30) < share).astype(float).tolist(), None

    def graded() -> tuple[list[float], None]:  # many perfect answers, the others somewhere between
        return np.where(generator.random(30) < share, 1.0, generator.beta(2, 2, 30)).tolist(), None

    def in_pairs() -> tuple[list[float], list[int]]:
        of_pair = generator.beta(2 * share, 2 * (1 - share), 20)
        hits = generator.random((20, 2)) < of_pair[:, None]
        return hits.astype(float).ravel().tolist(), np.repeat(np.arange(20), 2).tolist()

    # 400 tries at 95 % fall below 0.915 once in a thousand times.
    assert coverage(plain, share, True) >= 0.915
    assert coverage(graded, share + (1 - share) / 2, False) >= 0.9
    assert coverage(in_pairs, share, True) >= 0.915


def test_a_paired_difference_is_close_to_the_t_interval_for_many_items() -> None:
    generator = np.random.default_rng(1)
    candidate, baseline = generator.random(2000), generator.random(2000)
    found = paired_difference(candidate.tolist(), baseline.tolist())
    differences = candidate - baseline
    low, high = stats.t.interval(0.95, 1999, differences.mean(), stats.sem(differences))
    assert found.interval is not None
    assert found.value == pytest.approx(differences.mean())
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high), abs=1e-3)


def test_pairing_is_surer_than_comparing_two_means() -> None:
    generator = np.random.default_rng(2)
    baseline = (generator.random(100) < 0.5).astype(float)
    candidate = np.where(generator.random(100) < 0.1, 1.0, baseline)
    found = paired_difference(candidate.tolist(), baseline.tolist()).interval
    assert found is not None
    assert found.high - found.low < 0.2
    assert found.low > 0


def test_equal_scores_on_a_few_items_are_no_proof_of_equality() -> None:
    found = paired_difference([1.0] * 5, [1.0] * 5)
    assert found.value == 0
    assert found.interval is not None
    assert found.interval.low < -0.1
    assert found.interval.high > 0.1


def test_items_without_a_partner_are_counted_and_left_out() -> None:
    found = paired_difference([1.0, None, 0.0], [0.0, 1.0, None])
    assert (found.value, found.n, found.unpaired) == (1.0, 1, 2)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == (-1, 1)
    assert paired_difference([None], [1.0]).interval is None


def test_what_is_no_score_is_refused() -> None:
    for value in (-0.1, 1.1, math.nan):
        with pytest.raises(ScoringError, match="between 0 and 1"):
            mean_score([value])
    with pytest.raises(ScoringError, match="one for each"):
        mean_score([1.0], clusters=["a", "b"])
    with pytest.raises(ScoringError, match="no weight"):
        mean_score([1.0], weights=[math.inf])
    with pytest.raises(ScoringError, match="cannot be paired"):
        paired_difference([1.0], [1.0, 0.0])
