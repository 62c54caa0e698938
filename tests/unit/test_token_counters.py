"""Counting without a network and without ever counting too little."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.token_counters import (
    TOKENS_PER_MESSAGE,
    TOKENS_PER_PICTURE,
    TiktokenCounter,
    UpperBoundCounter,
    chat_tokens,
    counter_for,
    message_tokens,
)


@pytest.fixture(scope="module")
def tiktoken_counter() -> TiktokenCounter:
    return TiktokenCounter()


def test_a_long_chinese_text_is_never_taken_for_one_token(tiktoken_counter: TiktokenCounter) -> None:
    # counting words makes 3,000 characters one or two tokens
    text = "我想退回上周买的蓝色外套因为尺码不合适" * 158
    assert UpperBoundCounter().count(text) >= tiktoken_counter.count(text) > 2_000


def test_twenty_kilobytes_of_json_without_spaces_are_never_taken_for_one_token(
    tiktoken_counter: TiktokenCounter,
) -> None:
    text = json.dumps({f"key{i}": [i, "value"] for i in range(1_000)}, separators=(",", ":"))
    assert UpperBoundCounter().count(text) >= tiktoken_counter.count(text) > 5_000


@given(st.text(max_size=200))
def test_the_upper_bound_is_one(text: str) -> None:
    assert UpperBoundCounter().count(text) >= counter_for().count(text)


def test_text_that_looks_like_a_special_token_is_counted_as_text(tiktoken_counter: TiktokenCounter) -> None:
    assert tiktoken_counter.count("<|endoftext|>") > 1


def test_an_empty_text_has_no_tokens(tiktoken_counter: TiktokenCounter) -> None:
    assert tiktoken_counter.count("") == UpperBoundCounter().count("") == 0


def test_only_models_of_the_encoding_are_counted_exactly() -> None:
    assert counter_for("gpt-4").exact
    assert not counter_for("gpt-4o").exact
    assert not counter_for("smollm2-135m").exact
    assert not UpperBoundCounter().exact


def test_counting_opens_no_connection() -> None:
    # in a process of its own, with an empty cache, where every socket is refused
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('no network here')\n"
        "socket.socket.connect = refuse; socket.create_connection = refuse; socket.getaddrinfo = refuse\n"
        "from flywheel.token_counters import counter_for\n"
        "counter = counter_for('gpt-4')\n"
        "print(counter.name, counter.exact, counter.count('hello world'))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"TIKTOKEN_CACHE_DIR": ""}
    )
    assert run.stdout.split() == ["tiktoken", "cl100k_base", "True", "2"], run.stderr


def test_a_chat_costs_its_texts_its_calls_its_tools_and_its_frame() -> None:
    counter = UpperBoundCounter()
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a":1}'}}
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
    ]
    tools = [{"type": "function", "function": {"name": "find", "parameters": {}}}]
    bare = chat_tokens(messages, None, counter)
    assert bare >= 3 * TOKENS_PER_MESSAGE + len("hello" + "find" + '{"a":1}' + "found")
    assert chat_tokens(messages, [], counter) == bare
    assert chat_tokens(messages, tools, counter) >= bare + len(json.dumps(tools))


def test_arguments_cost_about_the_same_as_string_and_as_object() -> None:
    counter = UpperBoundCounter()

    def cost(arguments: object) -> int:
        return message_tokens({"tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}, counter)

    assert abs(cost('{"city": "Bern"}') - cost({"city": "Bern"})) <= 2


def test_parts_count_their_text_and_a_picture_counts_a_fixed_price() -> None:
    url = "data:image/png;base64," + "A" * 500_000
    parts = [{"type": "text", "text": "what is this"}, {"type": "image_url", "image_url": {"url": url}}]
    cost = message_tokens({"role": "user", "content": parts}, UpperBoundCounter())
    assert cost == TOKENS_PER_MESSAGE + len("what is this") + TOKENS_PER_PICTURE
