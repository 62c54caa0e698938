"""How far traffic has moved since an evaluation set was drawn."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.findings.drift import TrafficProfile, reasons
from flywheel.history.traffic_profile import drift_between, drift_since, profile_of, shift_of
from tests.unit.curation.tables import Call, call, validated

COUNTS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 40), min_size=1)


def calls(count: int, seed: int, start: float, tools: str = "aaab", system: str = "Old.") -> list[Call]:
    """Calls a second apart; every character of `tools` is a tool as likely as the others."""
    draw = random.Random(seed)
    return [
        call(f"{seed}-{n}", f"question {n}", tool=draw.choice(tools), system=system, time=start + n)
        for n in range(count)
    ]


def test_the_same_traffic_is_not_stale_however_often_its_calls_repeat(tmp_path: Path) -> None:
    then = validated(tmp_path / "then", calls(400, 1, start=1000.0))
    profile = profile_of(then, ["1-0"])
    now = validated(tmp_path / "now", calls(400, 1, start=1000.0) + 2 * calls(200, 2, start=5000.0))
    drift = drift_since(profile, now, ["1-0"], stale_from=0.1)
    assert drift is not None
    assert (drift.calls_then, drift.calls_now) == (400, 400)
    assert drift.since == "1970-01-01T00:23:19Z"
    assert drift.stale_because == []
    assert reasons(drift) == ""


def long(calls: list[Call]) -> list[Call]:
    return [replace(one, turns=(one.turns[0] * 20,)) for one in calls]


@pytest.mark.parametrize(
    ("moved", "because", "said"),
    [
        (calls(200, 2, 5000.0, tools="abbb"), "answers", "of other kinds (a 7"),
        (calls(200, 2, 5000.0, tools="c"), "answers", "100% of the answers since"),
        (calls(200, 2, 5000.0, system="New."), "contexts", "100% of the calls since have a system prompt"),
        (long(calls(200, 2, 5000.0)), "lengths", "of another length: 100% moved"),
    ],
)
def test_what_moved_is_named(tmp_path: Path, moved: list[Call], because: str, said: str) -> None:
    old = calls(400, 1, 1000.0)
    profile = profile_of(validated(tmp_path / "then", old), ["1-0"])
    drift = drift_since(profile, validated(tmp_path / "now", [*old[:50], *moved]), ["1-0"], stale_from=0.2)
    assert drift is not None
    assert drift.calls_now == 200
    assert drift.stale_because == [because]
    assert said in reasons(drift)


def test_traffic_that_the_set_covers_better_than_before_does_not_make_it_stale() -> None:
    then = TrafficProfile(100, 1.0, {"a": 100}, {"5": 100}, uncovered=90)
    now = msgspec.structs.replace(then, uncovered=10)
    assert drift_between(then, now, 0.2).stale_because == []
    assert drift_between(now, then, 0.2).stale_because == ["contexts"]


def test_few_new_calls_do_not_make_a_set_stale_whatever_they_are(tmp_path: Path) -> None:
    profile = profile_of(validated(tmp_path / "then", calls(100, 1, 1000.0)), ["1-0"])
    for count, stale in ((29, False), (30, True)):
        now = validated(tmp_path / str(count), calls(count, 2, 5000.0, tools="b", system="New."))
        drift = drift_since(profile, now, [], 0.1)
        assert drift is not None
        assert drift.stale is stale


def test_nothing_is_said_without_newer_calls_or_times(tmp_path: Path) -> None:
    table = validated(tmp_path / "then", calls(10, 1, 1000.0))
    profile = profile_of(table, ["1-0"])
    assert profile.newest == 1009.0
    assert drift_since(profile, table, ["1-0"], 0.1) is None
    assert drift_since(None, table, ["1-0"], 0.1) is None
    timeless = validated(tmp_path / "timeless", [call("x", "Hi.", time=None)])
    assert profile_of(timeless, []).newest is None
    assert drift_since(profile_of(timeless, []), table, [], 0.1) is None


@given(COUNTS.filter(lambda c: sum(c.values())), COUNTS.filter(lambda c: sum(c.values())))
def test_a_distance_is_the_same_both_ways_and_none_between_equal_shares(
    first: dict[str, int], second: dict[str, int]
) -> None:
    there, back = shift_of("answers", first, second), shift_of("answers", second, first)
    assert there.distance == pytest.approx(back.distance)
    assert 0 <= there.distance <= 1 + 1e-9
    assert 0 < there.p_value <= 1
    assert shift_of("answers", first, {name: 3 * count for name, count in first.items()}).distance < 1e-9
