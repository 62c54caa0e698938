"""In-context examples: which, how many, where, and what happens when there are none."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.config import DataSplitConfig, IclConfig
from flywheel.datasets.example_selection import relevant_quota
from flywheel.datasets.icl import EVAL_FILE, NOT_RUN_FILE, build_icl
from flywheel.errors import DataError
from flywheel.progress import silent
from flywheel.token_counters import UpperBoundCounter, chat_tokens
from tests.unit.datasets.tables import SYSTEM, TOOL_NAMES, Call, read_lines, tool, write_tables

COUNTER = UpperBoundCounter()
THINGS = ("kettle", "trousers", "headphones", "bicycle pump", "garden chair", "wrist watch", "lamp", "dish")
PLACES = ("Bern", "Lagos", "Osaka", "Quito", "Tallinn", "Perth", "Cardiff", "Bergen")
WISHES = {
    "track_order": "where is the {} that you sent to {} last Monday?",
    "cancel_order": "I changed my mind, stop the {} going to {} before it leaves",
    "refund": "money back please, the {} delivered in {} came broken",
    "change_address": "send the {} to my new flat in {} instead of the old one",
    "talk_to_human": "a person, not a robot, about the {} and your shop in {}",
    "": "does your {} come in green, and is the store in {} open today?",
}


def calls_of(train_each: int = 5, evaluation_each: int = 1) -> list[Call]:
    calls = []
    for kind, (name, wish) in enumerate(WISHES.items()):
        for n in range(train_each + evaluation_each):
            question = wish.format(THINGS[(n + kind) % 8], PLACES[(3 * n + kind) % 8])
            split = "train" if n < train_each else "evaluation"
            calls.append(Call(f"{kind}-{n}", question, name, split))
    return calls


def icl(
    folder: Path, calls: list[Call], context: int = 32_768, seed: int = 0, **settings: Any
) -> tuple[list[Any], list[Any], dict[str, Any]]:
    validated, assignment = write_tables(folder, calls)
    split = DataSplitConfig(random_seed=seed)
    stats = build_icl(
        validated, assignment, folder / "icl", IclConfig(**settings), split, COUNTER, context, silent
    )
    return read_lines(folder / "icl" / EVAL_FILE), read_lines(folder / "icl" / NOT_RUN_FILE), stats


def questions_of(row: Any) -> list[str]:
    """The examples' questions, without the item's own."""
    return [m["content"] for m in row["request"]["messages"] if m["role"] == "user"][:-1]


def tools_shown(row: Any) -> list[str]:
    """The tool of each example, "" for a plain answer."""
    answers = [m for m in row["request"]["messages"] if m["role"] == "assistant"]
    return [m["tool_calls"][0]["function"]["name"] if m.get("tool_calls") else "" for m in answers]


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


def test_without_any_examples_there_is_no_icl_set_equal_to_the_base_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"context 2048 tokens.*longer context"):
        icl(tmp_path / "a", calls_of(), context=2_048)
    with pytest.raises(DataError, match="min_examples"):
        icl(tmp_path / "b", calls_of(train_each=1), max_examples=9, min_examples=9)


def test_examples_call_only_tools_that_the_item_offers(tmp_path: Path) -> None:
    item = Call("x", "is my parcel on its way to Bern?", "track_order", "evaluation")
    some = item._replace(request={**item.request_json(), "tools": [tool("track_order")]})
    rows, _, _ = icl(tmp_path / "a", [*calls_of(evaluation_each=0), some], max_examples=20)
    assert set(tools_shown(rows[0])) == {"track_order", ""}
    none = item._replace(request={**item.request_json(), "tool_choice": "none"})
    rows, _, _ = icl(tmp_path / "b", [*calls_of(evaluation_each=0), none], max_examples=20)
    assert set(tools_shown(rows[0])) == {""}


def test_example_turns_are_valid_chat_each_call_answered_once_under_an_id_of_its_own(tmp_path: Path) -> None:
    calls = [c._replace(record_id=c.record_id) for c in calls_of()]
    rows, _, _ = icl(tmp_path, calls, max_examples=12)
    for row in rows:
        waiting: list[str] = []
        seen: set[str] = set()
        for message in row["request"]["messages"]:
            if message["role"] == "tool":
                assert message["tool_call_id"] == waiting.pop(0)
                continue
            assert not waiting, "a call without a result before the next turn"
            ids = [call["id"] for call in message.get("tool_calls", ())]
            assert not seen & set(ids)
            assert all(len(i) == 9 and i.isalnum() for i in ids)
            seen |= set(ids)
            waiting += ids
        assert not waiting
        assert seen


def test_an_example_with_a_history_keeps_its_calls_and_their_results_paired(tmp_path: Path) -> None:
    def earlier(n: int) -> list[dict[str, Any]]:
        function = {"name": "track_order", "arguments": f'{{"order_id": "{n}"}}'}
        return [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"where is my {THINGS[n]} for {PLACES[n]}?"},
            {"role": "assistant", "tool_calls": [{"id": "same", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": "same", "content": f"it is in {PLACES[-n]}"},
        ]

    agents = [
        Call(
            f"a{n}", "", "", "train", request={"messages": earlier(n), "tools": [tool(t) for t in TOOL_NAMES]}
        )
        for n in range(1, 5)
    ]
    item = Call("x", "what became of my kettle?", "track_order", "evaluation")
    rows, _, _ = icl(tmp_path, [*agents, item], max_examples=3)
    messages = rows[0]["request"]["messages"]
    calls = [m["tool_calls"][0] for m in messages if m.get("tool_calls")]
    assert len({call["id"] for call in calls}) == len(calls) == 3
    assert [m["tool_call_id"] for m in messages if m["role"] == "tool"] == [call["id"] for call in calls]
    assert all(m["content"] == "" for m in messages if m.get("tool_calls"))  # absent is not "None"
    assert {call["function"]["arguments"]["order_id"] for call in calls} <= set("1234")


def test_examples_as_text_stand_at_the_end_of_the_system_message(tmp_path: Path) -> None:
    rows, _, _ = icl(tmp_path, calls_of(), placement="system_text")
    for row in rows:
        system, *own = row["request"]["messages"]
        assert system["role"] == "system"
        assert system["content"].startswith(SYSTEM + "\n\n")
        assert system["content"].count("user: ") == 3
        assert '"name": "' in system["content"]
        assert "None" not in system["content"]
        assert "OK" not in system["content"]
        assert [m["role"] for m in own] == ["user"]


def test_an_item_without_a_system_message_gets_one_for_the_text(tmp_path: Path) -> None:
    calls = calls_of()
    bare = [
        c._replace(request={**c.request_json(), "messages": c.request_json()["messages"][1:]})
        if c.split == "evaluation"
        else c
        for c in calls
    ]
    rows, _, _ = icl(tmp_path, bare, placement="system_text")
    assert all([m["role"] for m in row["request"]["messages"]] == ["system", "user"] for row in rows)
