"""What no other way of answering beats stays; intervals of the median and of the mean hold what they should."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flywheel.report.pareto import Place, front, mean_interval, median_interval, places
from tests.unit.report.full_run import full_evidence, full_run


def place(x: float, y: float, kind: str = "base-eval") -> Place:
    return Place("p", kind, x, y, None, None)


def test_what_is_dearer_and_no_better_is_beaten() -> None:
    found = [place(1, 0.5), place(2, 0.5), place(3, 0.9), place(4, 0.8), place(0.1, 0.99, "production")]
    assert front(found) == [0, 2]


def test_of_equal_places_one_stays() -> None:
    assert front([place(1, 0.5), place(1, 0.5)]) == [0]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_every_place_is_on_the_front_or_beaten_by_one_on_it(points: list[tuple[int, int]]) -> None:
    found = [place(x, y) for x, y in points]
    best = front(found)
    assert best
    for number, one in enumerate(found):
        beaten = any(found[other].x <= one.x and found[other].y >= one.y for other in best)
        assert number in best or beaten


def test_the_interval_of_the_median_covers_it_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        interval = median_interval(sorted(draw.lognormal(size=25).tolist()))
        assert interval is not None
        covered += interval.low <= 1.0 <= interval.high
    assert covered / 400 >= 0.93
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None


def test_the_interval_of_a_mean_is_students() -> None:
    from scipy import stats

    values = [3.0, 5.0, 8.0, 13.0]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    interval = mean_interval(values)
    assert interval is not None
    assert np.allclose([interval.low, interval.high], [max(0.0, low), high])
    assert mean_interval([1.0]) is None


def test_production_stands_in_the_picture_of_costs_with_its_own_agreement() -> None:
    *candidates, production = places(full_run(), full_evidence(), "cost")
    assert [p.label for p in candidates] == ["small customized-eval"]
    assert (production.kind, production.x, production.y) == ("production", 2.0, 0.95)


def test_production_whose_agreement_is_assumed_has_no_place_in_the_picture() -> None:
    run = full_run()
    assert run.analysis is not None
    assumed = [msgspec.structs.replace(one, source="assumed", value=1.0) for one in run.analysis.ceilings]
    run = msgspec.structs.replace(run, analysis=msgspec.structs.replace(run.analysis, ceilings=assumed))
    assert [place.kind for place in places(run, full_evidence(), "cost")] == ["customized-eval"]
