"""Cutting payloads that are too large."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel_exporter.payload_guard import TooLarge, encode_within

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def record(*texts: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": text} for text in texts]
    return {"id": "r", "request": {"messages": messages}, "response": {"choices": []}}


def test_a_record_within_its_limits_is_written_as_it_is() -> None:
    data, cut = encode_within(record("hällo \n"), 1_000, 10_000)
    assert json.loads(data) == record("hällo \n")
    assert b"\n" not in data
    assert not cut


def test_long_strings_are_cut_marked_and_named() -> None:
    data, cut = encode_within(record("short", "x" * 500), 100, 10_000)
    written = json.loads(data)
    assert cut
    assert written["truncated"] == [{"path": "request.messages[1].content", "characters": 500, "kept": 100}]
    assert written["request"]["messages"][1]["content"] == "x" * 100 + "…[cut: 400 more characters]"
    assert written["request"]["messages"][0]["content"] == "short"


def test_many_strings_within_the_limit_that_are_too_much_together_are_cut_further() -> None:
    data, cut = encode_within(record(*["x" * 900] * 100), 1_000, 60_000)
    assert cut
    assert len(data) <= 60_000
    assert {entry["kept"] for entry in json.loads(data)["truncated"]} == {250}


def test_what_cutting_does_not_help_is_refused() -> None:
    with pytest.raises(TooLarge):
        encode_within(record(*["x"] * 10_000), 1_000, 10_000)


def test_the_record_that_came_in_is_not_changed() -> None:
    given_record = record("x" * 500)
    encode_within(given_record, 100, 10_000)
    assert given_record == record("x" * 500)


@given(JSON, st.integers(64, 400), st.integers(200, 4_000))
def test_the_limits_hold_whatever_comes(payload: Any, most_characters: int, most_bytes: int) -> None:
    logged = {"id": "r", "request": payload, "response": {}}
    try:
        data, cut = encode_within(logged, most_characters, most_bytes)
    except TooLarge:
        assert len(json.dumps(logged, ensure_ascii=False).encode()) > most_bytes
        return
    assert len(data) <= most_bytes
    assert cut or json.loads(data) == logged


def test_half_a_surrogate_pair_is_written_as_its_escape() -> None:
    data, _ = encode_within(record("\ud83d"), 1_000, 10_000)
    assert json.loads(data) == record("\ud83d")
