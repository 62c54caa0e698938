"""Requests taken apart: a frame that was met before is the frame that decoding would give."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.records.frames import Frame, Frames

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.just('"messages": [1]'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["model", "tools", "tool_choice", "metadata", "x"])


def decoded(request: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in request.items() if key != "messages"}


def said_by(frame: Frame) -> dict[str, Any]:
    return {key: msgspec.json.decode(value) for key, value in frame.rest.items()}


@given(st.lists(st.tuples(st.dictionaries(KEYS, JSON, max_size=3), JSON, st.booleans()), max_size=8))
def test_what_is_remembered_is_what_decoding_gives(requests: list[tuple[dict[str, Any], Any, bool]]) -> None:
    frames = Frames()
    for fields, messages, messages_first in [*requests, *requests]:
        request = {"messages": messages, **fields} if messages_first else {**fields, "messages": messages}
        raw, frame = frames.take_apart(json.dumps(request).encode())
        assert json.loads(raw) == messages
        assert said_by(frame) == decoded(request)
        fresh = Frame({key: json.dumps(value).encode() for key, value in decoded(request).items()})
        assert (frame.tools_hash, frame.settings_hash) == (fresh.tools_hash, fresh.settings_hash)


@pytest.mark.parametrize(
    "shape",
    ['{{"x": {{"messages": {m}}}, "messages": {m}}}', '{{"messages": {m}, "x": {{"messages": {m}}}}}'],
)
def test_a_second_place_with_the_same_words_is_not_mistaken_for_the_messages(shape: str) -> None:
    frames = Frames()
    for text in ("one", "two"):
        messages = json.dumps([{"role": "user", "content": text}])
        raw, frame = frames.take_apart(shape.format(m=messages).encode())
        assert raw.decode() == messages
        assert said_by(frame) == {"x": {"messages": json.loads(messages)}}


def test_a_request_without_messages_has_null_for_them() -> None:
    assert Frames().take_apart(b'{"model": "m"}')[0] == b"null"


@pytest.mark.parametrize("request_", [b"[]", b"{", b'"messages"', b""])
def test_what_is_no_object_is_an_error_of_the_decoder(request_: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        Frames().take_apart(request_)


def test_requests_that_share_nothing_are_decoded_each() -> None:
    frames = Frames()
    for number in range(3_000):
        _, frame = frames.take_apart(json.dumps({"messages": [], "user": number}).encode())
        assert said_by(frame) == {"user": number}
