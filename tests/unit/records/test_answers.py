from __future__ import annotations

from typing import Any

import pytest

from flywheel.records.answers import NO_TOOL, answer_choice, answer_class, answer_message

TEXT = {"finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
EMPTY = {"finish_reason": "stop", "message": {"role": "assistant", "content": " \n"}}
CALL = {
    "finish_reason": "tool_calls",
    "message": {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
}
CUT = {"finish_reason": "length", "message": {"role": "assistant", "content": "hel"}}


@pytest.mark.parametrize(
    ("choices", "used"),
    [
        ([TEXT], 0),
        ([EMPTY, CALL], 1),  # a call in the second choice must not turn into an empty answer
        ([CUT, TEXT], 1),
        ([EMPTY, CUT], 1),
        ([EMPTY], None),
        ([{**TEXT, "finish_reason": ["length"]}], 0),
        ([], None),
        (None, None),
        ([3, {"message": None}, TEXT], 2),
        ([{"message": {"content": [{"type": "refusal", "refusal": "I cannot help."}]}}], None),
    ],
)
def test_the_first_choice_that_says_something_whole_is_the_answer(choices: Any, used: int | None) -> None:
    response = {"choices": choices}
    assert answer_choice(response) == used
    assert answer_message(response) == (None if used is None else choices[used]["message"])


def test_the_class_of_an_answer_names_all_its_tools_once_in_order() -> None:
    calls = [{"function": {"name": name}} for name in ("b", "a", "b")]
    assert answer_class({"tool_calls": calls}) == "a+b"
    assert answer_class({"content": "hello", "tool_calls": None}) == NO_TOOL
