"""Choosing some of too many records."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.logs.sampling import Sample, places, stratum_of

Counts = st.dictionaries(st.text(max_size=4), st.integers(1, 500), min_size=1, max_size=12)


@given(counts=Counts, limit=st.integers(1, 400))
def test_all_places_are_taken_and_no_class_gets_more_than_it_has(counts: dict[str, int], limit: int) -> None:
    given_places = places(counts, limit)
    assert sum(given_places.values()) == min(limit, sum(counts.values()))
    assert all(0 <= given_places[name] <= counts[name] for name in counts)


@given(counts=Counts, limit=st.integers(1, 400))
def test_every_class_stays_where_there_are_places_enough(counts: dict[str, int], limit: int) -> None:
    if limit >= len(counts):
        assert all(number >= 1 for number in places(counts, limit).values())


def test_half_of_the_places_are_shared_equally_and_half_by_traffic() -> None:
    assert places({"usual": 9_000, "rare": 3, "some": 997}, 600) == {"usual": 461, "some": 136, "rare": 3}


@pytest.mark.parametrize("sampling", ["newest", "uniform", "stratified"])
def test_a_long_log_in_any_order_gives_the_same_choice_with_little_held(sampling: str) -> None:
    records = [(i, float(i // 3), hash_of(i), "ab"[i % 50 == 0]) for i in range(30_000)]
    choices = []
    for seed in (1, 2):
        random.Random(seed).shuffle(records)
        sample: Sample[int] = Sample(100, sampling)  # type: ignore[arg-type]
        for key, time, draw, stratum in records:
            sample.add(key, time, draw, stratum if sample.stratified else "")
        assert sample.seen == 30_000
        choices.append(sorted(sample.chosen()))
    assert choices[0] == choices[1]
    assert len(choices[0]) == 100
    if sampling == "newest":
        assert min(choices[0]) >= 30_000 - 102


def test_records_without_a_time_are_older_than_any() -> None:
    sample: Sample[str] = Sample(1, "newest")
    sample.add("undated", None, 1 << 63)
    sample.add("old", -1e9, 0)
    assert sample.chosen() == ["old"]


@pytest.mark.parametrize(
    ("message", "stratum"),
    [
        ({"tool_calls": [{"function": {"name": "b"}}, {"function": {"name": "a"}}]}, "a+b"),
        ({"tool_calls": [{"function": {"name": "a"}}, {"function": {"name": "a"}}]}, "a"),
        ({"function_call": {"name": "old"}}, "old"),
        ({"content": "hello", "tool_calls": None}, "no_tool"),
        ({"tool_calls": "?"}, "no_tool"),
        (None, "no_tool"),
    ],
)
def test_the_class_of_an_answer_is_its_distinct_tools(message: object, stratum: str) -> None:
    assert stratum_of(json.dumps({"choices": [{"message": message}]}).encode()) == stratum
    assert stratum_of(b"[]") == stratum_of(None) == stratum_of(b"{") == "no_tool"


def hash_of(number: int) -> int:
    return number * 0x9E3779B97F4A7C15 % (1 << 64)
