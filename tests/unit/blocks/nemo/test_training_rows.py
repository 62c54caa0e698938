from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.nemo.training_rows import UnusableRow, prepare_file, prepare_row, require_rows
from flywheel.errors import DataError, DatasetError
from flywheel.token_counters import UpperBoundCounter
from tests.fakes.nemo.training_rows import row_problem

COUNTER = UpperBoundCounter()
ANSWER = {"role": "assistant", "content": "yes"}


def chat(*messages: dict[str, Any], tools: Any = None) -> dict[str, Any]:
    return {"messages": list(messages), "tools": tools or []}


def call(arguments: Any) -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }


def tool(parameters: int) -> dict[str, Any]:
    properties = {f"p{n}": {"type": "string"} for n in range(parameters)}
    return {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": properties}},
    }


@pytest.mark.parametrize(
    ("arguments", "expected"), [('{"a": 1}', {"a": 1}), ({"a": 1}, {"a": 1}), ("", {}), (None, {})]
)
def test_arguments_become_objects(arguments: Any, expected: Any) -> None:
    made = prepare_row(chat(call(arguments)))
    assert made["messages"][0]["tool_calls"][0]["function"]["arguments"] == expected
    assert made["messages"][0]["content"] == ""


def test_a_row_without_tools_has_no_tools() -> None:
    assert set(prepare_row(chat(ANSWER))) == {"messages"}


def test_eight_parameters_are_allowed_and_nine_are_not() -> None:
    assert prepare_row(chat(ANSWER, tools=[tool(8)]))["tools"] == [tool(8)]
    with pytest.raises(UnusableRow, match="more than 8 parameters"):
        prepare_row(chat(ANSWER, tools=[tool(9)]))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (chat(call("not json")), "arguments"),
        (chat(call("[1]")), "arguments"),
        (chat({"role": "user", "content": [{"type": "image_url"}]}, ANSWER), "not text"),
        (chat({"role": "user", "content": 3}, ANSWER), "not text"),
        (chat(ANSWER, {"role": "user", "content": "and?"}), "no assistant message"),
        (chat(), "no assistant message"),
        (chat({"role": "assistant", "content": ""}), "neither content nor tool calls"),
        (chat({"role": "oracle", "content": "x"}, ANSWER), "role 'oracle'"),
    ],
)
def test_what_the_platform_cannot_take_is_named(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableRow, match=reason):
        prepare_row(row)


CONTENT = st.one_of(
    st.none(), st.text(), st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": st.text()}))
)
MESSAGES = st.lists(
    st.one_of(
        st.fixed_dictionaries({"role": st.sampled_from(["system", "developer", "user"]), "content": CONTENT}),
        st.dictionaries(st.text(max_size=3), st.integers(), max_size=9).map(call),
        st.dictionaries(st.text(max_size=3), st.integers(), max_size=9).map(json.dumps).map(call),
        st.fixed_dictionaries(
            {"role": st.just("tool"), "content": CONTENT, "tool_call_id": st.just("c"), "name": st.just("f")}
        ),
    ),
    max_size=4,
)


@settings(max_examples=50)
@given(MESSAGES, st.integers(0, 10))
def test_every_prepared_row_is_one_that_the_platform_takes(messages: list[dict[str, Any]], size: int) -> None:
    row = chat(*messages, ANSWER, tools=[tool(size)])
    before = copy.deepcopy(row)
    try:
        assert row_problem(prepare_row(row)) is None
    except UnusableRow:
        assert size > 8
    assert row == before


def test_counts_add_up_and_blank_lines_are_nothing(tmp_path: Path) -> None:
    long = chat({"role": "user", "content": "why? " * 100}, ANSWER)
    rows = [chat(ANSWER), chat(call("nope")), chat(ANSWER), chat(), long]
    source = tmp_path / "in.jsonl"
    source.write_text("\n\n".join(json.dumps(row) for row in rows))
    done = prepare_file(source, tmp_path / "out.jsonl", COUNTER, 500)

    assert done.rows + sum(done.skipped.values()) == 5
    assert done.skipped["more than 500 tokens (training_config.max_seq_length)"] == 1
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == done.rows == 2


def test_a_missing_file_has_no_rows_and_no_rows_are_told(tmp_path: Path) -> None:
    done = prepare_file(tmp_path / "none.jsonl", tmp_path / "out.jsonl", COUNTER, 500)
    with pytest.raises(DataError, match="there are none"):
        require_rows(done)


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("{}\n[")
    with pytest.raises(DatasetError, match=r"in\.jsonl, line 2"):
        prepare_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", COUNTER, 500)
