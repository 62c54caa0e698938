from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.records.canonical import Fingerprint, content_id, content_id_of_json, fingerprint
from flywheel.records.frames import VOLATILE

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "minimum": 1.0}}}]
ANSWER = {"role": "assistant", "content": "done"}


def call(arguments: Any, call_id: str = "c1", name: str = "f") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def request(arguments: Any = '{"a": 1, "b": [2]}', **fields: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": None, "tool_calls": [call(arguments)]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ],
        "tools": TOOLS,
        "temperature": 0,
    } | fields


def hashes(**fields: Any) -> Fingerprint:
    return fingerprint(request(**fields), ANSWER)


def shuffled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict):
        items = [(key, shuffled(inner, rng)) for key, inner in value.items()]
        rng.shuffle(items)
        return dict(items)
    return [shuffled(inner, rng) for inner in value] if isinstance(value, list) else value


JSON_OBJECTS = st.dictionaries(
    st.text(max_size=5), st.integers() | st.text() | st.none() | st.lists(st.booleans()), max_size=5
)


@given(JSON_OBJECTS, st.randoms(use_true_random=False))
def test_key_order_and_the_form_of_arguments_make_no_difference(
    arguments: dict[str, Any], rng: random.Random
) -> None:
    base = fingerprint(request(arguments), ANSWER)
    assert fingerprint(shuffled(request(arguments), rng), shuffled(ANSWER, rng)) == base
    assert fingerprint(request(json.dumps(shuffled(arguments, rng), indent=2)), ANSWER) == base


@given(JSON_OBJECTS, JSON_OBJECTS)
def test_different_arguments_in_the_history_make_another_request(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    same = fingerprint(request(one), ANSWER).request == fingerprint(request(other), ANSWER).request
    assert same == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


@pytest.mark.parametrize("key", sorted(VOLATILE))
def test_how_a_call_was_made_makes_no_difference(key: str) -> None:
    assert hashes(**{key: "x"}) == hashes()


@pytest.mark.parametrize(
    "fields",
    [{"temperature": 0.0}, {"top_p": None}, {"stop": []}, {"functions": None}],
    ids=lambda fields: str(fields),
)
def test_other_spellings_of_the_same_settings_make_no_difference(fields: dict[str, Any]) -> None:
    assert hashes(**fields) == hashes()


def test_tools_null_is_no_tools() -> None:
    without = request()
    del without["tools"]
    assert fingerprint(without, ANSWER) == hashes(tools=None) == hashes(tools=[])


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 1},
        {"tool_choice": "none"},
        {"tools": None},
        {"response_format": {"type": "json_object"}},
    ],
    ids=lambda fields: str(fields),
)
def test_what_was_asked_for_counts(fields: dict[str, Any]) -> None:
    assert hashes(**fields).request != hashes().request


def test_two_system_prompts_are_two_requests_with_two_contexts() -> None:
    other = request()
    other["messages"][0]["content"] = "be thorough"
    assert fingerprint(other, ANSWER).request != hashes().request
    assert fingerprint(other, ANSWER).context != hashes().context


def test_two_steps_of_one_agent_turn_are_two_requests() -> None:
    earlier = request(messages=request()["messages"][:2])
    assert fingerprint(earlier, ANSWER).request != hashes().request
    assert fingerprint(earlier, ANSWER).context == hashes().context


def test_content_as_text_or_as_one_text_part_makes_no_difference() -> None:
    parts = request()
    parts["messages"][1]["content"] = [{"type": "text", "text": "hello"}]
    assert fingerprint(parts, ANSWER) == hashes()
    parts["messages"][1]["content"].append({"type": "image_url", "image_url": {"url": "u"}})
    assert fingerprint(parts, ANSWER).request != hashes().request


def test_call_ids_are_random_but_who_answers_whom_counts() -> None:
    def parallel(first: str, second: str, answered: str) -> Fingerprint:
        messages = [
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [call("{}", first), call("{}", second, "g")]},
            {"role": "tool", "tool_call_id": answered, "content": "42"},
        ]
        return fingerprint({"messages": messages}, ANSWER)

    assert parallel("a", "b", "a") == parallel("x", "y", "x")
    assert parallel("a", "b", "a").request != parallel("a", "b", "b").request


def test_an_earlier_turn_is_found_inside_a_later_one() -> None:
    """The answer as the API returns it carries more keys than clients send back."""
    history = request()["messages"]
    first_answer = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "tool_calls": [call({"b": [2], "a": 1}, "other-id")],
    }
    first = fingerprint(request(messages=history[:2]), first_answer)
    second = fingerprint(request(), ANSWER)
    third_request = request(
        messages=[*history, {**ANSWER, "name": "bot"}, {"role": "user", "content": "thanks"}]
    )
    third = fingerprint(third_request, ANSWER)
    assert first.prefixes == []
    assert second.prefixes == [first.thread]
    assert third.prefixes == [first.thread, second.thread]


def test_a_different_answer_is_another_thread_to_the_same_request() -> None:
    other = fingerprint(request(), {"role": "assistant", "content": "refused"})
    assert other.request == hashes().request
    assert other.answer != hashes().answer
    assert other.thread != hashes().thread


def test_nothing_handed_in_is_changed() -> None:
    asked, answer = request({"a": 1.0}), copy.deepcopy(ANSWER)
    before = copy.deepcopy(asked)
    fingerprint(asked, answer)
    assert (asked, answer) == (before, ANSWER)


def test_hashes_are_fixed_for_ever() -> None:
    """They name datasets: another value would make every stored dataset unfindable, so a change has to be meant."""
    assert [value.hex() for value in hashes()[:4]] == PINNED
    assert content_id(["w", None, 1.0, {"b": 1, "a": 2}]) == content_id(["w", None, 1, {"a": 2, "b": 1}])
    assert len(content_id([])) == 32


PINNED = [
    "6a88ae7d6c400c533e94f7619bf16b38",
    "eb1a37bf2ac94264f2e689221a2a3a91",
    "66fb48c35b71b4fc566dc3ef792a4fd1",
    "bc64a4bb4e1b9536c92fdde2f61b82a0",
]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=10,
    )
)
def test_the_id_of_json_is_the_id_of_what_it_says_whatever_the_order_of_its_keys(value: Any) -> None:
    assert content_id_of_json(json.dumps(value, indent=1).encode()) == content_id([value])
    assert content_id_of_json(json.dumps(value, sort_keys=True).encode()) == content_id([value])
