"""Evaluation sets with in-context examples: their rows, what fits, and what happens when there are none."""

from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pytest

from flywheel.config import DataSplitConfig, IclConfig
from flywheel.curation.arrow_columns import column
from flywheel.curation.texts.fixed_text_search import fixed_text_in
from flywheel.datasets.icl import build_icl, without_examples
from flywheel.datasets.icl_items import FILES
from flywheel.errors import DataError
from flywheel.progress import silent
from flywheel.token_counters import chat_tokens
from tests.unit.curation.questions import question
from tests.unit.datasets.icl_sets import COUNTER, calls_of, icl, questions_of
from tests.unit.datasets.tables import SYSTEM, write_tables


def test_rows_have_the_shape_of_the_base_set_and_end_with_the_item_itself(tmp_path: Path) -> None:
    calls = calls_of()
    rows, not_run, stats = icl(tmp_path, calls)
    items = sorted((c for c in calls if c.split == "evaluation"), key=lambda c: c.record_id)
    assert not not_run
    assert [row["id"] for row in rows] == [c.record_id for c in items]
    for row, item in zip(rows, items, strict=True):
        assert list(row) == ["id", "request", "response", "cluster", "weight"]
        assert row["request"]["messages"][0] == {"role": "system", "content": SYSTEM}
        assert row["request"]["messages"][-1] == {"role": "user", "content": item.question}
        assert row["request"]["tools"] == item.request_json()["tools"]
    assert stats["rows"] == len(items)
    assert stats["examples"] == {"min": 3, "mean": 3, "max": 3}


@pytest.mark.parametrize("method", ["semantic_similarity", "uniform_distribution"])
def test_each_example_is_followed_by_the_answer_that_production_gave_to_it(
    tmp_path: Path, method: str
) -> None:
    calls = {c.question: c for c in calls_of()}
    rows, _, _ = icl(tmp_path, list(calls.values()), max_examples=8, example_selection=method)
    plain = 0
    for row in rows:
        messages = row["request"]["messages"][:-1]
        for asked, answer in itertools.pairwise(messages):
            if asked["role"] != "user":
                continue
            call = calls[asked["content"]]
            plain += not call.tool
            if call.tool:
                (made,) = answer["tool_calls"]
                expected = {"name": call.tool, "arguments": {"order_id": call.record_id}}
                assert made["function"] == expected
            else:
                assert (answer["role"], answer["content"]) == ("assistant", "Happy to help.")
        assert row["response"]["choices"][0]["message"].get("content") in (None, "Happy to help.")
    assert plain


def test_an_example_that_does_not_fit_is_skipped_and_the_next_one_taken(tmp_path: Path) -> None:
    # stopping at the first long one leaves the item with fewer examples than would fit
    calls = calls_of()
    long = calls[0].question + " It is urgent." * 400
    calls[0] = calls[0]._replace(question=long)
    item = next(c for c in calls if c.split == "evaluation" and c.tool == calls[0].tool)
    request = item.request_json()
    context = chat_tokens(request["messages"], request["tools"], COUNTER) + 512 + 1_500
    rows, not_run, _ = icl(tmp_path, calls, context=context)
    assert not not_run
    assert all(len(questions_of(row)) == 3 and long not in questions_of(row) for row in rows)


@pytest.mark.parametrize("placement", ["turns", "system_text"])
@pytest.mark.parametrize("context", [2_900, 3_000, 4_096])
def test_prompt_and_answer_fit_the_candidates_own_context(
    tmp_path: Path, context: int, placement: str
) -> None:
    # a budget from one global setting (32,768) overflows a candidate of 8,192
    calls = calls_of(train_each=7)
    rows, _, stats = icl(tmp_path, calls, context=context, max_examples=40, placement=placement)
    assert rows
    assert stats["context_length"] == context
    for row in rows:
        used = chat_tokens(row["request"]["messages"], row["request"]["tools"], COUNTER)
        assert used + 512 <= context


def test_room_for_the_answer_grows_with_the_items_max_tokens(tmp_path: Path) -> None:
    calls = calls_of()
    asking = [c._replace(request={**c.request_json(), "max_tokens": 1_500}) for c in calls]
    few, _, stats = icl(tmp_path / "a", asking, context=4_096, max_examples=20)
    many, _, _ = icl(tmp_path / "b", calls, context=4_096, max_examples=20)
    assert stats["examples"]["max"] < max(len(questions_of(row)) for row in many)
    for row in few:
        assert chat_tokens(row["request"]["messages"], row["request"]["tools"], COUNTER) + 1_500 <= 4_096


def test_an_item_with_too_few_examples_is_listed_and_left_out(tmp_path: Path) -> None:
    calls = calls_of()
    item = next(c for c in calls if c.split == "evaluation")
    long = item._replace(question=item.question + " please" * 1_000)
    calls = [long if c is item else c for c in calls]
    rows, not_run, stats = icl(tmp_path, calls, context=4_096)
    assert [row["id"] for row in not_run] == [item.record_id]
    assert not_run[0]["reason"] == "item_too_long"
    assert item.record_id not in {row["id"] for row in rows}
    assert stats["not_run"] == 1
    assert stats["items"] == len(rows) + 1
    (told,) = without_examples(stats)
    assert told.startswith("1 of 6 items got no in-context examples and are unscored (1 item_too_long)")
    assert "the others got 3 on average (3 to 3)" in told
    assert without_examples(stats | {"not_run": 0}) == []


def test_without_any_examples_there_is_no_icl_set_equal_to_the_base_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"6 item_too_long.*longer context than 2,048 tokens"):
        icl(tmp_path / "a", calls_of(), context=2_048)
    with pytest.raises(DataError, match=r"asks for, 9 \(6 too_few_examples\)\. .*tools that the item offers"):
        icl(tmp_path / "b", calls_of(train_each=1), max_examples=9, min_examples=9)


def test_a_template_that_all_requests_share_makes_no_example_a_near_copy(tmp_path: Path) -> None:
    template = question(1, words=150)
    calls = [c._replace(question=f"{template}\n{c.question}\nAnswer with one call.") for c in calls_of()]
    with pytest.raises(DataError, match="too_few_examples"):
        icl(tmp_path / "whole", calls)
    fixed = fixed_text_in(column([call.question for call in calls], pa.string()))
    _, not_run, stats = icl(tmp_path / "own", calls, fixed=fixed)
    assert not not_run
    assert stats["examples"]["min"] == 3


def test_processes_that_take_a_part_each_write_what_one_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flywheel.datasets.icl.WORTH_A_WORKER", 3)
    validated, assignment = write_tables(tmp_path, calls_of(5, 2))
    outs = (tmp_path / "alone", tmp_path / "together")
    stats = [
        build_icl(
            validated,
            assignment,
            out,
            IclConfig(min_examples=3),
            DataSplitConfig(),
            COUNTER,
            3_080,
            silent,
            items=n,
        )
        for out, n in zip(outs, (0, 12), strict=True)
    ]
    assert stats[0] == stats[1]
    assert stats[0]["rows"]
    assert stats[0]["not_run"]
    names = {path.name for path in outs[1].iterdir()}
    assert names == set(FILES)
    for name in names:
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name
