"""What counts as a tool call in generated text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.local_platform.models.tool_text import call_text
from blocks.local_platform.serving.answer_parsing import assistant_message


def calls_in(text: str) -> list[tuple[str, Any]]:
    message = assistant_message(text, tools_offered=True)
    return [
        (c["function"]["name"], json.loads(c["function"]["arguments"])) for c in message.get("tool_calls", [])
    ]


@given(
    name=st.text(min_size=1, max_size=10),
    arguments=st.dictionaries(
        st.text(max_size=5), st.text(max_size=10) | st.integers() | st.lists(st.booleans()), max_size=4
    ),
)
def test_a_call_in_our_notation_reads_back(name: str, arguments: dict[str, Any]) -> None:
    text = call_text({"name": name, "arguments": arguments})
    if "</tool_call>" not in text[:-12]:
        assert calls_in(text) == [(name, arguments)]


def test_parallel_calls_keep_their_order_and_get_their_own_ids() -> None:
    text = '<tool_call>{"name":"a","arguments":{}}</tool_call>\n<tool_call>{"name":"b","arguments":{"x":1}}</tool_call>'
    message = assistant_message(text, tools_offered=True)
    assert calls_in(text) == [("a", {}), ("b", {"x": 1})]
    assert len({call["id"] for call in message["tool_calls"]}) == 2
    assert message["content"] is None


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "a", "arguments": {"x": 1}}\n</tool_call>',
        '<tool_call>{"name":"a","arguments":{"x":1}}',
        '[TOOL_CALLS][{"name": "a", "arguments": {"x": 1}}]',
        '{"name": "a", "parameters": {"x": 1}}',
        '<tool_call>{"name":"a","arguments":"{\\"x\\": 1}"}</tool_call>',
    ],
)
def test_notations_of_other_models_are_understood(text: str) -> None:
    assert calls_in(text) == [("a", {"x": 1})]


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name":"a","arguments":{"x":</tool_call>',
        '<tool_call>{"name":"a"}</tool_call>',
        '<tool_call>{"arguments":{}}</tool_call>',
        '<tool_call>{"name":"a","arguments":{"x":NaN}}</tool_call>',
        "I would use a tool.",
        '{"answer": 42}',
        "[]",
    ],
)
def test_what_is_no_call_stays_content(text: str) -> None:
    assert assistant_message(text, tools_offered=True) == {"role": "assistant", "content": text}


def test_text_before_a_call_is_kept() -> None:
    message = assistant_message(
        'Sure. <tool_call>{"name":"a","arguments":{}}</tool_call>', tools_offered=True
    )
    assert message["content"] == "Sure."


def test_without_tools_in_the_request_nothing_is_a_call() -> None:
    text = '<tool_call>{"name":"a","arguments":{}}</tool_call>'
    assert assistant_message(text, tools_offered=False) == {"role": "assistant", "content": text}
