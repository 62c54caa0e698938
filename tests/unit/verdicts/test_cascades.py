"""What part of the traffic a candidate could take: laws of the curve, and cuts that promise no more than there is."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.findings.cascades import Cascade
from flywheel.verdicts.cascade_curve import folds_of, held_out_order, kept_at
from flywheel.verdicts.cascade_cuts import STEPS, Asked, cascades_of
from flywheel.verdicts.cascade_signals import Routable, Signal
from flywheel.verdicts.estimates import Scored, mean_of

ITEM = st.tuples(
    st.sampled_from([None, 0.0, 0.5, 1.0]),  # score
    st.integers(0, 6),  # cluster
    st.sampled_from([1.0, 3.0]),  # weight
    st.sampled_from(["a", "b", "c", None]),  # answer class
    st.one_of(st.none(), st.floats(-5, 0)),  # confidence
)
ITEMS = st.lists(ITEM, min_size=1, max_size=25)
Item = tuple[float | None, int, float, str | None, float | None]


def routable(items: Sequence[Item]) -> Routable:
    scored = Scored([i[0] for i in items], [i[1] for i in items], [i[2] for i in items])
    signals = [Signal("answer class", [i[3] for i in items]), Signal("confidence", [i[4] for i in items])]
    return Routable([str(number) for number in range(len(items))], scored, signals)


def cascades(items: Sequence[Item], target: float = 0.9) -> list[Cascade]:
    asked = Asked("small", "base-eval", "m", target, 0.95)
    return cascades_of(routable(items), asked, lambda kept: math.fsum(kept))


def one(values: Sequence[float | None], signal: Sequence[str | float | None], target: float = 0.9) -> Cascade:
    scored = Scored(values, list(range(len(values))), [1.0] * len(values))
    asked = Asked("small", "base-eval", "m", target, 0.95)
    found = Signal("answer class" if isinstance(signal[0], str) else "confidence", signal)
    ids = [str(number) for number in range(len(values))]
    (cascade,) = cascades_of(Routable(ids, scored, [found]), asked, lambda kept: None)
    return cascade


@settings(max_examples=25)
@given(ITEMS)
def test_the_share_rises_along_a_curve_to_all_that_was_scored_where_the_score_is_the_evaluations_own(
    items: list[Item],
) -> None:
    scored = routable(items).scored
    mean = mean_of(scored)
    found = cascades(items)
    assert (mean is None) == (found == [])
    of_scored = math.fsum(i[2] for i in items if i[0] is not None) / math.fsum(i[2] for i in items)
    for cascade in found:
        assert mean is not None
        shares = [point.share for point in cascade.points]
        assert shares == pytest.approx([of_scored * step / STEPS for step in range(1, STEPS + 1)])
        assert cascade.points[-1].quality == pytest.approx(mean.value)
        for point in cascade.points:
            assert point.quality is not None
            assert point.interval is not None
            assert 0 <= point.interval.low <= point.quality <= point.interval.high <= 1
        assert cascade.chosen is None or cascade.chosen.share <= of_scored + 1e-9


@settings(max_examples=25)
@given(ITEMS)
def test_a_signal_that_says_the_same_of_all_gives_a_flat_curve(items: list[Item]) -> None:
    same: list[Item] = [(*item[:3], "a", -1.0) for item in items]
    for cascade in cascades(same):
        assert [p.quality for p in cascade.points] == pytest.approx([cascade.points[-1].quality] * STEPS)


@settings(max_examples=25)
@given(ITEMS, st.randoms(use_true_random=False))
def test_the_order_of_the_items_changes_nothing(items: list[Item], luck: random.Random) -> None:
    shuffled = luck.sample(items, len(items))
    for cascade, other in zip(cascades(items), cascades(shuffled), strict=True):
        assert cascade.outcome == other.outcome
        assert [p.quality for p in cascade.points] == pytest.approx([p.quality for p in other.points])
        assert (cascade.chosen is None) == (other.chosen is None)
        if cascade.chosen and other.chosen:
            assert cascade.chosen.share == pytest.approx(other.chosen.share)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_a_cluster_is_never_in_two_folds_and_folds_hold_about_as_many_clusters(clusters: list[int]) -> None:
    folds = folds_of(clusters)
    of_cluster = {c: {int(f) for f, d in zip(folds, clusters, strict=True) if c == d} for c in clusters}
    assert all(len(found) == 1 for found in of_cluster.values())
    counts = np.bincount([next(iter(found)) for found in of_cluster.values()], minlength=5)
    assert counts.max() - counts.min() <= 1


@settings(max_examples=25)
@given(ITEMS, st.floats(0, 1), st.floats(0, 1))
def test_who_keeps_more_keeps_everything_that_was_kept_before(
    items: list[Item], some: float, more: float
) -> None:
    found = routable(items)
    weights = np.array(found.scored.weights)
    for signal in found.signals:
        parts = held_out_order(signal, found.scored, folds_of(found.scored.clusters))
        less, whole = (kept_at(share, parts, weights) for share in sorted((some, more)))
        assert (less <= whole + 1e-9).all()
        unscored = [place for place, value in enumerate(found.scored.values) if value is None]
        assert not whole[unscored].any()


def test_a_signal_that_is_noise_gives_a_curve_that_is_flat_but_for_chance() -> None:
    luck = random.Random(3)
    gaps: list[float] = []
    for _ in range(30):
        values = [float(luck.random() < 0.8) for _ in range(200)]
        points = one(values, [luck.choice("abcdef") for _ in values]).points
        gaps += [(points[k].quality or 0.0) - (points[-1].quality or 0.0) for k in (1, 4)]
    # 30 draws of 40 and 100 items each: the standard error of the mean gap is about 0.007.
    assert abs(sum(gaps) / len(gaps)) < 0.02


def test_a_group_of_answers_that_is_good_can_be_kept_and_the_cut_names_it() -> None:
    luck = random.Random(1)
    groups = ["good" if luck.random() < 0.5 else "bad" for _ in range(300)]
    values = [1.0 if group == "good" else float(luck.random() < 0.5) for group in groups]
    cascade = one(values, groups)
    assert (cascade.outcome, cascade.cut) == ("useful", "good")
    assert cascade.chosen is not None
    assert cascade.chosen.share == pytest.approx(groups.count("good") / 300)
    assert cascade.chosen.quality == 1.0
    assert cascade.chosen_share is not None
    assert cascade.chosen_share.low < cascade.chosen.share < cascade.chosen_share.high


def test_a_confidence_that_tells_right_from_wrong_can_be_cut_and_requests_without_one_go_back() -> None:
    luck = random.Random(2)
    sure: list[float | None] = [-luck.random() for _ in range(400)]
    values = [float((value or 0) > -0.5 or luck.random() < 0.4) for value in sure]
    sure[:40] = [None] * 40
    cascade = one(values, list(reversed(sure)), target=0.9)
    assert cascade.outcome != "useful"  # another item's confidence says nothing of this one
    cascade = one(values, sure, target=0.9)
    assert cascade.outcome == "useful"
    assert cascade.cut.startswith("from a mean log-probability of −0.")
    assert cascade.chosen is not None
    assert 0.35 < cascade.chosen.share <= 0.9


def test_no_cut_is_promised_where_there_is_none() -> None:
    luck = random.Random(5)
    promised = 0
    for _ in range(15):
        groups = [luck.choice("abcdef") for _ in range(150)]
        values = [float(luck.random() < 0.88) for _ in groups]  # a little below what is asked everywhere
        promised += one(values, groups, target=0.9).outcome in ("useful", "everything")
        # A group of its own for each item: on the items themselves it looks as if it could tell all of them apart.
        fitted = one(values, [f"class {number}" for number in range(len(values))], target=0.95)
        promised += fitted.outcome == "useful"
    assert promised <= 2  # each is allowed one in forty


def test_few_items_say_so_and_how_many_would_do() -> None:
    cascade = one([1.0] * 20, ["a", "b"] * 10, target=0.95)
    assert cascade.outcome == "too_few"
    assert cascade.items_needed is not None
    assert str(cascade.items_needed) in cascade.reason
    enough = one(
        [1.0] * cascade.items_needed,
        ["a", "b"] * (cascade.items_needed // 2) + ["a"] * (cascade.items_needed % 2),
        0.95,
    )
    assert enough.outcome == "everything"
    assert enough.chosen is not None
    assert enough.chosen.share == 1.0


def test_a_margin_of_nothing_and_a_candidate_that_is_never_right_have_no_useful_cut_and_say_why() -> None:
    assert "margin of 0" in one([1.0] * 100, ["a", "b"] * 50, target=1.0).reason
    never = one([0.0] * 200, ["a", "b"] * 100)
    assert (never.outcome, never.chosen) == ("no_useful_cut", None)
    assert "nowhere" in never.reason
