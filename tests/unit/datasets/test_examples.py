"""What examples look like in a prompt: as turns of a valid chat, or as text of the system message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flywheel.datasets.examples import example_turns, with_own_ids
from tests.unit.datasets.icl_sets import PLACES, THINGS, calls_of, icl
from tests.unit.datasets.tables import SYSTEM, TOOL_NAMES, Call, tool


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


def test_parallel_calls_that_were_logged_without_ids_are_answered_one_by_one() -> None:
    calls = [{"type": "function", "function": {"name": "find", "arguments": {"n": n}}} for n in (1, 2)]
    answer = {"role": "assistant", "content": None, "tool_calls": calls}
    turns = with_own_ids(example_turns([{"role": "user", "content": "both"}], answer, False), 1)
    made = [call["id"] for call in turns[1]["tool_calls"]]
    assert len(set(made)) == 2
    assert [turn["tool_call_id"] for turn in turns[2:]] == made
