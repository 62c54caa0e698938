from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.findings.analysis import Bounds
from flywheel.judging.correction import corrected_mean, with_settled

SHARES = st.floats(0, 1)


def coverage(
    truth: float, hit: float, false_alarm: float, labelled: int, items: int, trials: int = 400, seed: int = 0
) -> tuple[float, float, float]:
    """Share of intervals that hold the truth, mean corrected score, and mean width; a judge with these error rates."""
    generator = random.Random(seed)
    held = 0
    values, widths = [], []
    for _ in range(trials):
        people = [float(generator.random() < truth) for _ in range(items)]
        judged = [float(generator.random() < (hit if one else false_alarm)) for one in people]
        found = corrected_mean(judged, [one if i < labelled else None for i, one in enumerate(people)])
        assert found is not None
        value, bounds = found
        held += bounds.low <= truth <= bounds.high
        values.append(value)
        widths.append(bounds.high - bounds.low)
    return held / trials, sum(values) / trials, sum(widths) / trials


@pytest.mark.parametrize(
    ("truth", "hit", "false_alarm", "labelled"),
    [
        (0.7, 0.95, 0.05, 30),
        (0.7, 1.0, 0.6, 30),  # far too kind
        (0.9, 0.6, 0.1, 50),  # far too strict
        (0.5, 0.5, 0.5, 30),  # no better than a coin
        (0.95, 0.95, 0.3, 20),
        (0.3, 0.0, 1.0, 40),  # always wrong
    ],
)
def test_the_interval_holds_the_truth_as_often_as_it_says_however_bad_the_judge(
    truth: float, hit: float, false_alarm: float, labelled: int
) -> None:
    held, value, _ = coverage(truth, hit, false_alarm, labelled, items=200)
    assert held >= 0.93
    assert value == pytest.approx(truth, abs=0.02)


def test_a_good_judge_makes_the_interval_shorter_and_a_useless_one_does_little_harm() -> None:
    _, _, good = coverage(0.5, 0.97, 0.03, 40, items=400, trials=100)
    _, _, useless = coverage(0.5, 0.5, 0.5, 40, items=400, trials=100)
    people_alone = 2 * 2.02 * math.sqrt(0.25 / 40)
    assert good < 0.75 * people_alone
    assert useless < 1.15 * people_alone


def test_a_mean_over_everything_that_people_rated_is_their_mean() -> None:
    found = corrected_mean([1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0])
    assert found is not None
    assert found[0] == 0.5


def test_a_handful_of_ratings_that_agree_are_no_certainty() -> None:
    found = corrected_mean([1.0] * 50, [1.0] * 5 + [None] * 45)
    assert found is not None
    value, bounds = found
    assert (value, bounds.high) == (1.0, 1.0)
    assert bounds.low < 0.8


def test_with_fewer_than_two_independent_ratings_nothing_is_corrected() -> None:
    assert corrected_mean([1.0, 0.0], [1.0, None]) is None
    assert corrected_mean([1.0, 0.0, 1.0], [1.0, 0.0, None], ["a", "a", "b"]) is None
    assert corrected_mean([], []) is None
    with pytest.raises(ValueError, match="cannot be paired"):
        corrected_mean([1.0], [])


def test_items_of_one_cluster_count_together() -> None:
    judged = [1.0, 1.0, 0.0, 0.0] * 10
    people = [1.0, 1.0, 0.0, 0.0] * 5 + [None] * 20
    apart = corrected_mean(judged, people)
    together = corrected_mean(judged, people, [n // 2 for n in range(40)])
    assert apart is not None
    assert together is not None
    assert together[1].high - together[1].low > apart[1].high - apart[1].low


@given(st.lists(st.tuples(SHARES, st.none() | SHARES), max_size=30))
def test_the_corrected_score_lies_within_its_interval_and_that_within_zero_and_one(
    both: list[tuple[float, float | None]],
) -> None:
    found = corrected_mean([a for a, _ in both], [b for _, b in both])
    if found is not None:
        value, bounds = found
        assert 0 <= bounds.low <= value <= bounds.high <= 1


def test_what_is_settled_joins_by_its_share_and_widens_for_its_chance() -> None:
    value, bounds = with_settled((0.8, Bounds(0.7, 0.9)), 80, [0.0] * 20)
    assert value == pytest.approx(0.64)
    assert bounds.low < 0.64 - 0.08 < 0.64 + 0.08 < bounds.high
    assert with_settled((0.5, Bounds(0.5, 0.5)), 10, [0.5] * 10)[1] == Bounds(0.5, 0.5)
