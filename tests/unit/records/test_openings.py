"""Requests that begin and end with the same bytes: what is remembered changes no verdict and no hash."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.config import ValidationConfig
from flywheel.curation.validation.derived_columns import Deriver
from flywheel.curation.validation.validator import Validator
from flywheel.curation.validation.verdicts import Drop
from flywheel.records.canonical import fingerprint
from flywheel.records.openings import Openings, Parts

SYSTEM = st.sampled_from(["be brief", 'say "messages": [', "é", ""])
MESSAGES = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["system", "developer", "user", "user", "assistant", "nobody"]),
        SYSTEM | st.none() | st.lists(st.just({"type": "text", "text": "hello"}), max_size=1),
    ),
    max_size=4,
)
FIELDS = st.sampled_from([{}, {"tools": []}, {"metadata": {"messages": [1]}}, {"seed": 1}, {"seed": 2}])
REQUESTS = st.builds(
    lambda before, begins, rest, after: {
        **before,
        "messages": [*({"role": "system", "content": text} for text in begins), *rest],
        **after,
    },
    FIELDS,
    st.lists(SYSTEM, max_size=2),
    MESSAGES,
    FIELDS,
)
SPACES = st.sampled_from([None, (",", ":"), (" ,\n", " : ")])
ANSWER = {"role": "assistant", "content": "done"}
RESPONSE = json.dumps({"choices": [{"message": ANSWER}]}).encode()


def messages_of(parts: Parts) -> Any:
    return parts.messages if parts.opening is None else [*parts.opening.messages, *parts.messages]


def known(*requests: bytes) -> Openings:
    openings = Openings()
    for request in requests:
        openings.take_apart(request)
    return openings


def plain(*contents: str, **fields: Any) -> dict[str, Any]:
    roles = ["system", *["user"] * len(contents)]
    return {"messages": [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)], **fields}


@given(st.lists(st.tuples(REQUESTS, SPACES), max_size=6))
def test_what_is_remembered_is_what_decoding_gives(requests: list[tuple[dict[str, Any], Any]]) -> None:
    openings = Openings()
    for request, separators in [*requests, *requests]:
        parts = openings.take_apart(json.dumps(request, separators=separators).encode())
        assert messages_of(parts) == request["messages"]
        rest = {key: value for key, value in request.items() if key != "messages"}
        assert {key: msgspec.json.decode(raw) for key, raw in parts.frame.rest.items()} == rest


@given(st.lists(REQUESTS, min_size=1, max_size=4), st.data())
def test_the_verdict_and_the_hashes_are_those_of_a_request_that_stands_alone(
    requests: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Cut anywhere and with a piece in the wrong place as well."""
    texts = [json.dumps(request).encode() for request in requests]
    broken = [
        text[: data.draw(st.integers(0, len(text)))] + text[data.draw(st.integers(0, len(text))) :]
        for text in texts
    ]
    used = Validator(ValidationConfig())
    for text in [*texts, *texts, *broken]:
        alone = Validator(ValidationConfig()).judge(text, RESPONSE)
        verdict = used.judge(text, RESPONSE)
        if isinstance(alone, Drop) or isinstance(verdict, Drop):
            assert isinstance(alone, Drop)
            assert isinstance(verdict, Drop)
            assert verdict == alone
        else:
            assert Deriver().derive(verdict) == Deriver().derive(alone)
            assert Deriver().derive(verdict).fingerprint == fingerprint(json.loads(text), ANSWER)


@pytest.mark.parametrize("tail", ["", ", ", " ,", "]", "}", '{"role": "user", "content": "x"}, '])
def test_what_only_looks_like_a_known_request_is_refused_as_if_it_were_new(tail: str) -> None:
    request = json.dumps(plain("be brief", "hello", model="m"))
    asked = '{"role": "user", "content": "hello"}'
    text = request.replace(asked, tail).encode()
    validator = Validator(ValidationConfig())
    validator.judge(request.encode(), RESPONSE)
    assert validator.judge(text, RESPONSE) == Validator(ValidationConfig()).judge(text, RESPONSE)
    assert isinstance(validator.judge(text, RESPONSE), Drop)


def test_calls_of_one_piece_of_code_share_their_system_messages_and_their_frame() -> None:
    openings = known(json.dumps(plain("be brief", "one", tools=[], model="m")).encode())
    parts = openings.take_apart(json.dumps(plain("be brief", "two", "three", tools=[], model="m")).encode())
    assert parts.opening is not None
    assert parts.opening.messages == [{"role": "system", "content": "be brief"}]
    assert [message["content"] for message in parts.messages] == ["two", "three"]
    assert parts.frame.rest == {"tools": b"[]", "model": b'"m"'}


@pytest.mark.parametrize(
    "request_",
    [
        plain("be brief"),
        {"messages": [{"role": "user", "content": "hello"}, {"role": "user", "content": "there"}]},
        {"messages": [{"role": "system", "content": "s", "name": "n"}, {"role": "user", "content": "u"}]},
        {"metadata": {"messages": plain("be brief", "hello")["messages"]}},
        {"model": "m"},
    ],
    ids=str,
)
def test_a_request_without_a_plain_beginning_is_taken_apart_as_before(request_: dict[str, Any]) -> None:
    text = json.dumps(request_).encode()
    parts = known(text, text).take_apart(text)
    assert parts.opening is None
    assert parts.messages == request_.get("messages")


def test_requests_that_begin_differently_each_are_decoded_each() -> None:
    openings = Openings()
    for number in range(3_000):
        request = plain(f"today is day {number}", "hello")
        assert messages_of(openings.take_apart(json.dumps(request).encode())) == request["messages"]


def test_a_new_way_to_begin_is_met_among_many() -> None:
    openings = Openings()
    texts = [json.dumps(plain(f"prompt {n % 40}", f"question {n}")).encode() for n in range(4_000)]
    for text in texts:
        assert messages_of(openings.take_apart(text)) == json.loads(text)["messages"]


@pytest.mark.parametrize("request_", [b"[]", b"{", b'"messages"', b""])
def test_what_is_no_object_is_an_error_of_the_decoder(request_: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        Openings().take_apart(request_)
