"""Putting streamed completions together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_exporter.completions import Streamed, loads, reassembled
from flywheel_exporter.events import events
from tests.fakes.chat_streams import call_part, chunk, sse, text_chunks

JUNK = st.sampled_from([None, True, 0, 1, -1, 0.5, "", "a", [], ["a"], [None], {}, {"a": 1}, [[1]]])


def broken(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Junk, or an object some of whose fields are there."""
    return JUNK | st.fixed_dictionaries({}, optional=fields)


CALLS = st.lists(
    broken(index=JUNK, id=JUNK, type=JUNK, function=broken(name=JUNK, arguments=JUNK)), max_size=2
)
DELTAS = broken(content=JUNK, role=JUNK, tool_calls=JUNK | CALLS, function_call=JUNK, refusal=JUNK)
CHOICES = st.lists(
    broken(index=JUNK, delta=DELTAS, message=DELTAS, finish_reason=JUNK, logprobs=JUNK), max_size=2
)
CHUNKS = broken(choices=JUNK | CHOICES, usage=JUNK, id=JUNK, error=JUNK)


def together(*chunks: dict[str, Any], done: bool = True) -> Streamed:
    return reassembled(
        events([(float(i), sse([each], done=False)) for i, each in enumerate(chunks)] + END[done])
    )


END = {True: [(99.0, b"data: [DONE]\n\n")], False: []}


def message(*chunks: dict[str, Any]) -> dict[str, Any]:
    [choice] = together(*chunks).response["choices"]
    found: dict[str, Any] = choice["message"]
    return found


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_text_is_what_its_pieces_say(pieces: list[str]) -> None:
    assert message(*text_chunks(*pieces))["content"] == "".join(pieces)


def test_the_object_is_the_one_that_an_unstreamed_call_returns() -> None:
    assert together(*text_chunks("Hel", "lo")).response == {
        "id": "cmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 2, "total_tokens": 13},
    }


def test_parallel_tool_calls_are_put_together_by_their_index() -> None:
    made = message(
        chunk({"role": "assistant", "content": None}),
        call_part(0, "", "track", "c0"),
        call_part(0, '{"order": '),
        call_part(1, "", "ping", "c1"),
        call_part(0, '"A1"}'),
        call_part(1, "{}"),
        chunk(finish="tool_calls"),
    )
    assert made == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c0", "type": "function", "function": {"name": "track", "arguments": '{"order": "A1"}'}},
            {"id": "c1", "type": "function", "function": {"name": "ping", "arguments": "{}"}},
        ],
    }


@pytest.mark.parametrize("index", [None, 0])
def test_calls_without_an_index_or_all_with_the_same_are_told_apart_by_their_ids(index: int | None) -> None:
    made = message(
        call_part(index, '{"a": 1}', "track", "c0"),
        call_part(index, '{"b"', "track", "c1"),
        call_part(index, ": 2}"),
        chunk(finish="tool_calls"),
    )
    assert [call["function"]["arguments"] for call in made["tool_calls"]] == ['{"a": 1}', '{"b": 2}']
    assert [call["id"] for call in made["tool_calls"]] == ["c0", "c1"]


def test_a_name_that_comes_with_each_part_is_not_doubled_and_one_in_pieces_is_joined() -> None:
    repeated = message(call_part(0, "{", "track", "c0"), call_part(0, "}", "track", "c0"))
    assert repeated["tool_calls"][0]["function"] == {"name": "track", "arguments": "{}"}
    pieces = message(call_part(0, "", "tra", "c0"), call_part(0, "{}", "ck"))
    assert pieces["tool_calls"][0]["function"] == {"name": "track", "arguments": "{}"}


def test_a_call_without_arguments_has_the_empty_string_of_the_api() -> None:
    made = message(chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "ping"}}]}))
    assert made["tool_calls"] == [
        {"id": "c", "type": "function", "function": {"name": "ping", "arguments": ""}}
    ]


def test_the_older_function_call_is_joined() -> None:
    made = message(
        chunk({"function_call": {"name": "track", "arguments": ""}}),
        chunk({"function_call": {"arguments": '{"a"'}}),
        chunk({"function_call": {"arguments": ":1}"}}),
    )
    assert made["function_call"] == {"name": "track", "arguments": '{"a":1}'}


def test_several_choices_come_back_in_the_order_of_their_index() -> None:
    response = together(
        chunk({"content": "b"}, index=1),
        chunk({"content": "a"}),
        chunk(finish="stop", index=1),
        chunk(finish="stop"),
    ).response
    assert [(c["index"], c["message"]["content"]) for c in response["choices"]] == [(0, "a"), (1, "b")]


def test_reasoning_refusals_logprobs_and_unknown_fields_are_kept() -> None:
    def with_logprob(text: str, token: str) -> dict[str, Any]:
        made = chunk(
            {"content": text, "reasoning_content": token, "citations": [token]}, system_fingerprint="f"
        )
        made["choices"][0]["logprobs"] = {"content": [{"token": token}], "refusal": None}
        return made

    response = together(
        with_logprob("a", "x"), with_logprob("b", "y"), chunk({"refusal": "no"}, "stop")
    ).response
    [choice] = response["choices"]
    assert choice["message"] == {
        "content": "ab",
        "reasoning_content": "xy",
        "citations": ["x", "y"],
        "refusal": "no",
        "role": "assistant",
    }
    assert choice["logprobs"] == {"content": [{"token": "x"}, {"token": "y"}], "refusal": None}
    assert response["system_fingerprint"] == "f"


def test_time_to_first_token_is_of_the_first_that_is_said_not_of_the_role() -> None:
    assert together(*text_chunks("a", "b")).first_token == 1.0
    assert together(chunk({"role": "assistant"}), chunk(finish="stop")).first_token is None
    assert together(chunk({"role": "assistant"}), chunk({}), call_part(0, "", "f", "c")).first_token == 2.0


@pytest.mark.parametrize(
    ("chunks", "done", "whole"),
    [
        (text_chunks("a"), True, True),
        (text_chunks("a"), False, True),  # the SDK may stop reading at the last chunk
        (text_chunks("a")[:2], False, False),
        ([], False, False),
        ([chunk({"content": "a"}, "stop"), chunk({"content": "b"}, index=1)], False, False),
        ([chunk({"content": "a"}), {"error": {"message": "overloaded"}}], True, False),
    ],
)
def test_whether_the_model_was_done(chunks: list[dict[str, Any]], done: bool, whole: bool) -> None:
    assert together(*chunks, done=done).whole is whole


def test_what_cannot_be_read_is_passed_over_and_told() -> None:
    body = (
        sse([chunk({"content": "a"})], done=False)
        + b"data: {oops\n\ndata: 5\n\n"
        + sse([chunk(finish="stop")])
    )
    streamed = reassembled(events([(0.0, body)]))
    assert streamed.response["choices"][0]["message"]["content"] == "a"
    assert not streamed.whole


def test_an_error_within_the_stream_is_in_the_response() -> None:
    assert together({"error": {"message": "overloaded"}}).response["error"] == {"message": "overloaded"}


@given(st.lists(CHUNKS, max_size=4))
def test_no_stream_of_json_makes_it_raise(values: list[Any]) -> None:
    body = b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)
    json.dumps(reassembled(events([(0.0, body)])).response)


def test_numbers_that_are_none_become_null() -> None:
    assert loads(b'{"a": -Infinity, "b": NaN, "c": 1e3}') == {"a": None, "b": None, "c": 1000.0}
