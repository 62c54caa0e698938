from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import DataError
from flywheel.records.arguments import (
    arguments_as_string,
    parse_arguments,
    with_arguments_as_objects,
    with_arguments_as_strings,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)


def call(arguments: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}


def request(*arguments: Any) -> dict[str, Any]:
    return {
        "temperature": 0,
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [call(a) for a in arguments]},
            {"role": "assistant", "content": "", "function_call": {"name": "g", "arguments": arguments[0]}},
        ],
    }


def response(*arguments: Any) -> dict[str, Any]:
    return {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "tool_calls": [call(a)]}} for a in arguments
        ]
    }


@given(OBJECTS)
def test_an_object_written_as_a_string_reads_back_equal(value: dict[str, Any]) -> None:
    assert parse_arguments(arguments_as_string(value)) == value


@given(OBJECTS)
def test_a_string_read_as_an_object_and_written_again_has_the_same_value(value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1)
    for payload in (request(text), response(text)):
        there_and_back = with_arguments_as_strings(with_arguments_as_objects(payload))
        assert with_arguments_as_objects(there_and_back) == with_arguments_as_objects(payload)
    read = with_arguments_as_objects(response(text))["choices"][0]["message"]["tool_calls"][0]["function"]
    assert read["arguments"] == value


@given(OBJECTS)
def test_history_and_response_change_alike_so_that_no_row_mixes_both_forms(value: dict[str, Any]) -> None:
    mixed = request(json.dumps(value), value)
    history = with_arguments_as_objects(mixed)["messages"]
    assert [c["function"]["arguments"] for c in history[1]["tool_calls"]] == [value, value]
    assert history[2]["function_call"]["arguments"] == value
    history = with_arguments_as_strings(mixed)["messages"]
    assert all(isinstance(c["function"]["arguments"], str) for c in history[1]["tool_calls"])


@given(OBJECTS)
def test_the_payload_handed_in_is_never_changed(value: dict[str, Any]) -> None:
    for payload in (request(json.dumps(value), value), response(value)):
        before = copy.deepcopy(payload)
        with_arguments_as_objects(payload)["messages" if "messages" in payload else "choices"].clear()
        with_arguments_as_strings(payload)
        assert payload == before


def test_a_string_is_written_as_it_was_character_by_character() -> None:
    text = '{ "b": 1,\n "a": 1e2 }'
    assert with_arguments_as_strings(request(text)) == request(text)


@pytest.mark.parametrize("nothing", ["", "  \n", None])
def test_a_function_called_without_arguments_has_an_empty_object(nothing: str | None) -> None:
    assert parse_arguments(nothing) == {}


@pytest.mark.parametrize(
    "wrong", ['{"a": 1', "Berlin", "[1]", "3", "null", '"{}"', '{"a": NaN}', 3, [1], '{"a":' + "[" * 100_000]
)
def test_arguments_that_are_no_json_object_are_an_error_and_are_left_alone(wrong: Any) -> None:
    with pytest.raises(DataError):
        parse_arguments(wrong)
    assert with_arguments_as_objects(request(wrong)) == request(wrong)


def test_whole_numbers_beyond_64_bits_keep_their_value() -> None:
    text = '{"n": 123456789012345678901234567890}'
    assert parse_arguments(text) == {"n": 123456789012345678901234567890}


@pytest.mark.parametrize("convert", [with_arguments_as_strings, with_arguments_as_objects])
@pytest.mark.parametrize("choice", [{"name": "g"}, "auto", "none"])
def test_the_older_function_choice_of_a_request_is_no_call_and_gets_no_arguments(
    convert: Callable[[Any], Any], choice: Any
) -> None:
    asked = {**request({"a": 1}), "functions": [{"name": "g"}], "function_call": choice}
    assert convert(asked)["function_call"] == choice
    assert convert(request({"a": 1}))["messages"] == convert(asked)["messages"]


def test_payloads_without_tool_calls_come_back_equal() -> None:
    for payload in (
        {"messages": [{"role": "user", "content": "x"}, "no message"]},
        {"choices": [3, {}]},
        {"a": 1},
    ):
        assert with_arguments_as_objects(payload) == payload
