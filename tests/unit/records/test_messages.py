from __future__ import annotations

from typing import Any

import pytest

from flywheel.records.messages import content_text, last_user_text, message_text, system_text, tool_calls

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
OTHER_PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,BBBB"}}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hello", "hello"),
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "refusal", "refusal": "no"}], "no"),
        (["bare"], "bare"),
    ],
)
def test_every_shape_of_content_has_a_text(content: Any, text: str) -> None:
    assert content_text(content) == text


def test_pictures_are_told_apart_and_never_vanish() -> None:
    first, second = content_text([PICTURE]), content_text([OTHER_PICTURE])
    assert first.startswith("[image_url ")
    assert first != second
    assert content_text([dict(reversed(PICTURE.items()))]) == first


def test_the_text_of_an_assistant_message_shows_its_calls_and_never_the_word_none() -> None:
    as_string = {"function": {"name": "f", "arguments": '{"b":1, "a": "x"}'}}
    as_object = {"function": {"name": "f", "arguments": {"a": "x", "b": 1}}}
    assert message_text({"role": "assistant", "tool_calls": [as_string]}) == 'f({"a":"x","b":1})'
    assert (
        message_text({"role": "assistant", "content": None, "tool_calls": [as_object]})
        == 'f({"a":"x","b":1})'
    )
    assert message_text({"role": "assistant", "content": "Wait.", "tool_calls": [as_object]}).startswith(
        "Wait.\nf("
    )


def test_what_is_not_a_function_call_is_not_counted_as_one() -> None:
    entries = [
        {"type": "custom", "custom": {"name": "c"}},
        {"function": {"name": ""}},
        3,
        {"function": {"name": "f"}},
    ]
    assert [call.name for call in tool_calls({"tool_calls": entries})] == ["f"]
    assert tool_calls({"tool_calls": None}) == []


def test_an_id_that_is_no_text_is_none() -> None:
    entry = {"id": {"a": 1}, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert [call.id for call in tool_calls({"tool_calls": [entry]})] == [None]


def test_the_older_function_call_is_a_call() -> None:
    (call,) = tool_calls({"function_call": {"name": "f", "arguments": "{}"}})
    assert (call.name, call.arguments) == ("f", "{}")


def test_system_and_user_texts_are_found_by_role() -> None:
    messages = [
        {"role": "system", "content": "S"},
        {"role": "developer", "content": "D"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": [{"type": "text", "text": "three"}]},
    ]
    assert system_text(messages) == "S\n\nD"
    assert last_user_text(messages) == "three"
    assert last_user_text(messages[:1]) == ""
