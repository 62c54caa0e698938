"""Which examples an item gets, and how many."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.datasets.example_selection import relevant_quota
from tests.unit.datasets.icl_sets import WISHES, calls_of, icl, questions_of, tools_shown
from tests.unit.datasets.tables import Call, tool


def test_examples_come_from_training_alone(tmp_path: Path) -> None:
    calls = calls_of(train_each=6)
    calls = [c._replace(split="validation") if c.record_id.endswith(("-0", "-1")) else c for c in calls]
    train = {c.question for c in calls if c.split == "train"}
    for method in ("semantic_similarity", "uniform_distribution"):
        rows, _, _ = icl(tmp_path / method, calls, max_examples=20, example_selection=method)
        assert rows
        assert all(set(questions_of(row)) <= train for row in rows)


def test_similar_selection_shows_the_closest_and_covers_other_tools(tmp_path: Path) -> None:
    rows, _, _ = icl(tmp_path, calls_of(), max_examples=5, relevance_ratio=0.6)
    for row in rows:
        own = list(WISHES)[int(row["id"][0])]
        shown = tools_shown(row)
        assert shown[-1] == own  # the closest stands last, next to the question
        assert shown.count(own) >= 2
        assert len(set(shown)) >= 3  # the last two show tools that the first three did not


@given(st.integers(1, 100), st.floats(0, 1))
def test_the_share_of_close_examples_is_rounded_to_the_nearest_and_never_nothing(
    most: int, ratio: float
) -> None:
    quota = relevant_quota(most, ratio)
    assert 1 <= quota <= most
    assert abs(quota - max(1, most * ratio)) <= 0.5 + 1e-9


def test_nine_tenths_of_three_are_three_and_of_one_are_one() -> None:
    # cutting off the fraction gave 2 and 0
    assert relevant_quota(3, 0.9) == 3
    assert relevant_quota(1, 0.9) == 1
    assert relevant_quota(1, 0.0) == 1


@pytest.mark.parametrize("method", ["semantic_similarity", "uniform_distribution"])
@pytest.mark.parametrize("most", [1, 3, 4, 7])
def test_the_number_of_examples_is_exact_when_there_are_enough(
    tmp_path: Path, method: str, most: int
) -> None:
    rows, _, stats = icl(tmp_path, calls_of(), max_examples=most, example_selection=method)
    assert {len(questions_of(row)) for row in rows} == {most}
    assert stats["examples"]["min"] == stats["examples"]["max"] == most


def test_uniform_selection_spreads_over_all_tools_and_differs_between_items(tmp_path: Path) -> None:
    # a fixed list shows the first three tools, always the same ones
    rows, _, _ = icl(tmp_path, calls_of(evaluation_each=3), example_selection="uniform_distribution")
    shown = Counter(name for row in rows for name in tools_shown(row))
    assert set(shown) == set(WISHES)
    assert max(shown.values()) - min(shown.values()) <= 1
    assert len({tuple(questions_of(row)) for row in rows}) > len(rows) / 2


def test_the_same_seed_chooses_the_same_and_another_seed_others(tmp_path: Path) -> None:
    made = [
        icl(tmp_path / str(i), calls_of(), seed=seed, example_selection="uniform_distribution")[0]
        for i, seed in enumerate((0, 0, 1))
    ]
    assert made[0] == made[1] != made[2]


def test_near_copies_of_the_item_are_never_examples(tmp_path: Path) -> None:
    calls = calls_of()
    item = next(c for c in calls if c.split == "evaluation")
    copies = [
        item._replace(record_id="copy-1", split="train", question=item.question + "!"),
        item._replace(record_id="copy-2", split="train", question=item.question.upper()),
        Call("cousin", "something else altogether", item.tool, "train", cluster=f"cluster-{item.record_id}"),
    ]
    for method in ("semantic_similarity", "uniform_distribution"):
        rows, _, _ = icl(tmp_path / method, [*calls, *copies], max_examples=40, example_selection=method)
        shown = questions_of(next(row for row in rows if row["id"] == item.record_id))
        assert len(shown) > 20
        assert not {c.question for c in copies} & set(shown)


def test_examples_call_only_tools_that_the_item_offers(tmp_path: Path) -> None:
    item = Call("x", "is my parcel on its way to Bern?", "track_order", "evaluation")
    some = item._replace(request={**item.request_json(), "tools": [tool("track_order")]})
    rows, _, _ = icl(tmp_path / "a", [*calls_of(evaluation_each=0), some], max_examples=20)
    assert set(tools_shown(rows[0])) == {"track_order", ""}
    none = item._replace(request={**item.request_json(), "tool_choice": "none"})
    rows, _, _ = icl(tmp_path / "b", [*calls_of(evaluation_each=0), none], max_examples=20)
    assert set(tools_shown(rows[0])) == {""}
