"""Spans of every generation of the GenAI conventions, as records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from flywheel.config import ValidationConfig
from flywheel.curation.validation.validator import Validator
from flywheel.curation.validation.verdicts import Drop, Keep
from flywheel.traces.calls import NO_LABELS, Recorded
from flywheel.traces.genai import recorded_span
from tests.unit.traces.spans import span

CHAT: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "large"}
PARIS = {"city": "Paris"}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
ASKED = [
    {"role": "system", "content": "You help."},
    {"role": "user", "content": "Weather in Paris?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "rainy", "tool_call_id": "c1"},
]
ANSWER = {"role": "assistant", "content": "It rains."}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Now.",
            "parameters": {"type": "object", "properties": {}},
        },
    }
]
EVENTS = Sequence[tuple[str, Mapping[str, Any]]]


def recorded(
    attributes: dict[str, Any], events: EVENTS = (), resource: dict[str, Any] | None = None, **fields: Any
) -> Recorded:
    return recorded_span(json.dumps(span(attributes, events, **fields)).encode(), resource or {}, NO_LABELS)


def fields_of(*args: Any, **more: Any) -> dict[str, Any]:
    found = recorded(*args, **more)
    assert found.problem is None, found.problem
    return {name: msgspec.json.decode(raw) for name, raw in found.fields.items()}


def verdict(found: Recorded) -> Keep | Drop:
    fields = {name: bytes(raw) for name, raw in found.fields.items()}
    extra = {name: found.fields[name] for name in ("incomplete", "truncated") if name in fields}
    judge = Validator(ValidationConfig()).judge
    return judge(fields.get("request"), fields.get("response"), msgspec.json.encode(extra))


PARTS: list[dict[str, Any]] = [
    {"role": "user", "parts": [{"type": "text", "content": "Weather in Paris?"}]},
    {
        "role": "assistant",
        "parts": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": PARIS}],
    },
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "rainy"}]},
]
OUTPUT = [{"role": "assistant", "parts": [{"type": "text", "content": "It rains."}], "finish_reason": "stop"}]
SYSTEM = [{"type": "text", "content": "You help."}]
DEFINITIONS = [{"type": "function", **TOOLS[0]["function"]}]
IN_PARTS = {
    "gen_ai.system_instructions": SYSTEM,
    "gen_ai.input.messages": PARTS,
    "gen_ai.output.messages": OUTPUT,
    "gen_ai.tool.definitions": DEFINITIONS,
}
AS_TEXT = {name: json.dumps(value) for name, value in IN_PARTS.items()}
FLAT: dict[str, Any] = {
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": "You help.",
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": '[{"type": "text", "text": "Weather in Paris?"}]',
    "gen_ai.prompt.2.role": "assistant",
    "gen_ai.prompt.2.tool_calls.0.id": "c1",
    "gen_ai.prompt.2.tool_calls.0.name": "weather",
    "gen_ai.prompt.2.tool_calls.0.arguments": '{"city":"Paris"}',
    "gen_ai.prompt.3.role": "tool",
    "gen_ai.prompt.3.content": "rainy",
    "gen_ai.prompt.3.tool_call_id": "c1",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": "It rains.",
    "gen_ai.completion.0.finish_reason": "stop",
    "llm.request.functions.0.name": "weather",
    "llm.request.functions.0.description": "Now.",
    "llm.request.functions.0.parameters": '{"type": "object", "properties": {}}',
}
MESSAGE_EVENTS = [
    ("gen_ai.system.message", {"content": "You help."}),
    ("gen_ai.user.message", {"gen_ai.event.content": json.dumps({"content": "Weather in Paris?"})}),
    ("gen_ai.assistant.message", {"tool_calls": json.dumps([CALL])}),
    ("gen_ai.tool.message", {"id": "c1", "content": "rainy"}),
    ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": json.dumps({"content": "It rains."})}),
]
CONTENT_EVENTS = [
    ("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps(ASKED)}),
    ("gen_ai.content.completion", {"gen_ai.completion": json.dumps([ANSWER | {"finish_reason": "stop"}])}),
]
FORMS: dict[str, tuple[dict[str, Any], EVENTS]] = {
    "values": (IN_PARTS, ()),
    "JSON text": (AS_TEXT, ()),
    "details event": ({}, [("gen_ai.client.inference.operation.details", AS_TEXT)]),
    "flat": (FLAT, ()),
    "message events": ({"gen_ai.tool.definitions": json.dumps(TOOLS)}, MESSAGE_EVENTS),
    "content events": ({"gen_ai.tool.definitions": json.dumps(TOOLS)}, CONTENT_EVENTS),
    "oldest": (
        {
            "gen_ai.prompt": json.dumps(ASKED),
            "gen_ai.completion": json.dumps([ANSWER | {"finish_reason": "stop"}]),
            "gen_ai.tool.definitions": json.dumps(TOOLS),
        },
        (),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_generation_gives_the_request_and_answer_that_it_recorded(form: str) -> None:
    attributes, events = FORMS[form]
    found = recorded(CHAT | attributes, events)
    fields = fields_of(CHAT | attributes, events)
    assert fields["request"] == {"model": "large", "messages": ASKED, "tools": TOOLS}
    assert fields["response"] == {"choices": [{"message": ANSWER, "finish_reason": "stop"}]}
    assert "span" not in fields, "nothing is left over"
    assert isinstance(verdict(found), Keep)


def test_the_settings_figures_and_times_of_a_call_have_their_fields() -> None:
    attributes = (
        CHAT
        | AS_TEXT
        | {
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.top_p": 1,
            "gen_ai.request.max_tokens": 200,
            "gen_ai.request.seed": 7,
            "gen_ai.request.stop_sequences": ["END"],
            "gen_ai.request.choice.count": 1,
            "gen_ai.response.model": "large-0613",
            "gen_ai.response.id": "chatcmpl-1",
            "gen_ai.usage.input_tokens": 52,
            "gen_ai.usage.output_tokens": 47,
            "gen_ai.conversation.id": "talk-1",
            "gen_ai.response.time_to_first_chunk": 0.25,
            "gen_ai.provider.name": "openai",
            "gen_ai.agent.name": "forecaster",
            "flywheel.description": "first line",
        }
    )
    times: dict[str, Any] = {
        "startTimeUnixNano": "1750000000250000000",
        "endTimeUnixNano": "1750000001500000000",
    }
    whose = {"service.name": "shop"}
    fields = fields_of(attributes, resource=whose, traceId="ab", spanId="cd", name="chat large", **times)
    request, response = fields.pop("request"), fields.pop("response")
    assert {key: value for key, value in request.items() if key not in ("messages", "tools")} == {
        "model": "large",
        "temperature": 0.5,
        "top_p": 1,
        "max_tokens": 200,
        "seed": 7,
        "stop": ["END"],
        "n": 1,
    }
    assert (response["id"], response["model"]) == ("chatcmpl-1", "large-0613")
    assert fields == {
        "id": "ab:cd",
        "timestamp": 1_750_000_000_250_000_000,
        "latency_ms": 1_250.0,
        "time_to_first_token_ms": 250.0,
        "workload_id": "forecaster",
        "client_id": "shop",
        "conversation_id": "talk-1",
        "tokens_in": 52,
        "tokens_out": 47,
        "description": "first line",
        "span": {
            "name": "chat large",
            "attributes": {"gen_ai.provider.name": "openai", "gen_ai.agent.name": "forecaster"},
        },
    }


def test_a_details_event_of_the_logs_is_a_call_by_itself() -> None:
    event = {"eventName": "gen_ai.client.inference.operation.details", "timeUnixNano": "1750000000000000000"}
    fields = fields_of(AS_TEXT | CHAT, **event)
    assert (fields["request"]["messages"], fields["timestamp"]) == (ASKED, 1_750_000_000_000_000_000)
    apart = recorded({"content": "hi"}, eventName="gen_ai.user.message", timeUnixNano="1")
    assert apart.problem is not None
    assert apart.problem.reason == "unmappable_call"


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"gen_ai.input.messages": [{"role": "user", "parts": [{"type": "hologram"}]}]}, "'hologram'"),
        ({"gen_ai.input.messages": [{"parts": []}]}, "without a role"),
        ({"gen_ai.input.messages": "hello"}, "no JSON"),
        ({"gen_ai.output.messages": []}, "no answer"),
        ({"gen_ai.tool.definitions": [{"type": "web_search", "name": "search"}]}, "'web_search'"),
        ({"gen_ai.operation.name": "text_completion"}, "no chat"),
        ({"gen_ai.prompt.0": "x", "gen_ai.prompt.0.role": "user"}, "contradicts"),
    ],
)
def test_what_has_no_place_in_a_chat_is_a_problem_with_a_reason(
    attributes: dict[str, Any], said: str
) -> None:
    found = recorded(CHAT | attributes, resource={"service.name": "shop"})
    assert found.problem is not None
    assert found.problem.reason == "unmappable_call"
    assert said in found.problem.detail
    assert found.fields == {"client_id": msgspec.Raw(b'"shop"')}, "so that it can be told whose problem it is"


def test_a_call_without_captured_content_a_failed_one_and_a_cut_one_are_refused_by_what_they_lack() -> None:
    failed: dict[str, Any] = {"status": {"code": 2, "message": "rate limit"}}
    cases = {
        "missing_request": recorded(CHAT),
        "errored_response": recorded(CHAT | {"gen_ai.input.messages": PARTS, "error.type": "429"}, **failed),
        "incomplete_answer": recorded(CHAT | AS_TEXT, **failed),
        "cut_payload": recorded(CHAT | AS_TEXT, droppedAttributesCount=2),
    }
    for reason, found in cases.items():
        judged = verdict(found)
        assert isinstance(judged, Drop)
        assert judged.reason == reason
