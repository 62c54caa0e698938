"""Messages in parts, and in other providers' words, as chat-completions messages."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.curation.validation.verdicts import Keep
from flywheel.traces.calls import NO_LABELS
from flywheel.traces.genai import recorded_span
from tests.unit.traces.spans import in_parts, pairs
from tests.unit.traces.test_genai import ASKED, CALL, CHAT, OUTPUT, PARIS, fields_of, recorded, verdict


def output(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    written = [{"role": "assistant", "parts": list(parts), **more}]
    found: dict[str, Any] = fields_of(CHAT | {"gen_ai.output.messages": json.dumps(written)})["response"][
        "choices"
    ][0]
    return found


def test_an_answer_in_several_parts_is_one_message() -> None:
    choice = output(
        {"type": "reasoning", "content": "Where?"},
        {"type": "text", "content": "I will "},
        {"type": "text", "content": "look."},
        {"type": "tool_call", "id": "c1", "name": "weather", "arguments": PARIS},
        {"type": "tool_call", "id": "c2", "name": "now"},
        finish_reason="tool_call",
    )
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "I will look.",
        "tool_calls": [
            CALL,
            {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        ],
        "reasoning_content": "Where?",
    }


def test_calls_without_ids_get_one_and_so_do_their_results() -> None:
    """As Gemini's have none; two results in one message are two messages of the API."""
    messages = [
        {"role": "user", "parts": [{"type": "text", "content": "Both?"}]},
        {
            "role": "model",
            "parts": [{"type": "tool_call", "name": name, "arguments": {}} for name in ("a", "b")],
        },
        {
            "role": "user",
            "parts": [
                {"type": "tool_call_response", "response": {"sum": 3}},
                {"type": "tool_call_response", "result": "four"},
                {"type": "text", "content": "Go on."},
            ],
        },
    ]
    found = recorded(CHAT | {"gen_ai.input.messages": messages, "gen_ai.output.messages": OUTPUT})
    assert isinstance(verdict(found), Keep)
    said = msgspec.json.decode(found.fields["request"])["messages"]
    calls = [call["id"] for call in said[1]["tool_calls"]]
    assert said[2:] == [
        {"role": "tool", "content": '{"sum":3}', "tool_call_id": calls[0]},
        {"role": "tool", "content": "four", "tool_call_id": calls[1]},
        {"role": "user", "content": "Go on."},
    ]


def test_blocks_of_anthropic_are_messages_too() -> None:
    asked = [
        {"role": "user", "content": "Weather in Paris?"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c1", "name": "weather", "input": PARIS}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "rainy"}]},
    ]
    fields = fields_of(CHAT | {"gen_ai.input.messages": json.dumps(asked)})
    assert fields["request"]["messages"] == ASKED[1:]


def test_pictures_go_along() -> None:
    parts = [
        {"type": "text", "content": "What is this?"},
        {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "aGk="},
    ]
    fields = fields_of(CHAT | {"gen_ai.input.messages": [{"role": "user", "parts": parts}]})
    assert fields["request"]["messages"][0]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
    ]


text = st.text(max_size=12)
calls = st.builds(
    lambda name, value: {
        "id": f"c-{name}",
        "type": "function",
        "function": {"name": name, "arguments": value},
    },
    st.text("abc", min_size=1, max_size=3),
    st.dictionaries(text, st.integers() | text, max_size=2).map(lambda d: msgspec.json.encode(d).decode()),
)


@given(content=text.filter(bool), called=st.lists(calls, max_size=2), as_text=st.booleans())
def test_a_message_written_in_parts_comes_back_as_it_was(
    content: str, called: list[dict[str, Any]], as_text: bool
) -> None:
    message = {"role": "assistant", "content": content} | ({"tool_calls": called} if called else {})
    written: Any = [in_parts(message)]
    attributes = CHAT | {"gen_ai.output.messages": json.dumps(written) if as_text else written}
    assert fields_of(attributes)["response"]["choices"] == [{"message": message}]


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | text,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["role", "parts", "type", "content", "tool_calls", "name"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from(
        [
            "gen_ai.input.messages",
            "gen_ai.output.messages",
            "gen_ai.system_instructions",
            "gen_ai.tool.definitions",
            "gen_ai.prompt.0",
            "gen_ai.completion.0.tool_calls",
        ]
    ),
)
def test_nothing_that_a_span_may_hold_breaks_the_reading(value: Any, name: str) -> None:
    raw = json.dumps({"attributes": [*pairs(CHAT), *pairs({name: value})]}).encode()
    found = recorded_span(raw, {}, NO_LABELS)
    assert found.problem is not None or msgspec.json.encode(found.fields)
