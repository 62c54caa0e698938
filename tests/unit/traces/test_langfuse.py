"""Observations of Langfuse as records, in the shapes that its SDKs and integrations leave."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.config import ValidationConfig
from flywheel.curation.validation.validator import Validator
from flywheel.curation.validation.verdicts import Drop
from flywheel.traces.calls import NO_LABELS, Recorded
from flywheel.traces.langfuse import recorded_generation

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ASKED = [{"role": "system", "content": "You help."}, {"role": "user", "content": "Weather?"}]


def recorded(trace: dict[str, Any] | None = None, **fields: Any) -> Recorded:
    return recorded_generation({"id": "o1", "traceId": "t1", "type": "GENERATION"} | fields, trace, NO_LABELS)


def fields_of(trace: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    found = recorded(trace, **fields)
    assert found.problem is None, found.problem
    return {name: msgspec.json.decode(raw) for name, raw in found.fields.items()}


def test_a_generation_of_the_openai_integration_is_the_call_that_was_made() -> None:
    fields = fields_of(
        {"sessionId": "talk", "name": "refunds"},
        name="OpenAI-generation",
        startTime="2025-06-15T15:06:40.000Z",
        endTime="2025-06-15T15:06:41.250Z",
        completionStartTime="2025-06-15T15:06:40.200Z",
        model="gpt-4.1",
        modelParameters={
            "temperature": 0.5,
            "max_tokens": "Infinity",
            "top_p": "1",
            "seed": "7",
            "user": "u",
        },
        input={"messages": ASKED, "tools": [TOOL], "tool_choice": "auto"},
        output={"role": "assistant", "content": None, "tool_calls": [CALL]},
        usageDetails={"input": 52, "output": 47, "total": 99},
        environment="production",
        level="DEFAULT",
        metadata={"region": "eu", "attributes": {"a": 1}, "scope": {"name": "sdk"}},
    )
    assert fields == {
        "id": "o1",
        "workload_id": "refunds",
        "client_id": "production",
        "conversation_id": "talk",
        "timestamp": "2025-06-15T15:06:40.000Z",
        "latency_ms": 1250.0,
        "time_to_first_token_ms": 200.0,
        "tokens_in": 52,
        "tokens_out": 47,
        "region": "eu",
        "request": {
            "model": "gpt-4.1",
            "temperature": 0.5,
            "top_p": 1,
            "seed": 7,
            "tool_choice": "auto",
            "messages": ASKED,
            "tools": [TOOL],
        },
        "response": {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [CALL]}}]},
    }


@pytest.mark.parametrize(
    "asked", [ASKED, {"messages": ASKED}, json.dumps(ASKED), json.dumps({"messages": ASKED})]
)
def test_messages_may_come_alone_in_an_object_or_as_text(asked: Any) -> None:
    assert fields_of(input=asked)["request"]["messages"] == ASKED


def test_a_bare_prompt_is_a_message_of_the_user() -> None:
    assert fields_of(input="Weather?")["request"] == {"messages": [{"role": "user", "content": "Weather?"}]}


def test_tools_among_the_messages_are_tools() -> None:
    """So does LangChain's handler write them."""
    fields = fields_of(input=[*ASKED, {"role": "tool", "content": TOOL}])
    assert fields["request"] == {"messages": ASKED, "tools": [TOOL]}


@pytest.mark.parametrize(
    ("output", "choice"),
    [
        ("Sunny.", {"message": {"role": "assistant", "content": "Sunny."}}),
        ({"content": "Sunny."}, {"message": {"role": "assistant", "content": "Sunny."}}),
        (
            [{"role": "assistant", "content": "Sun", "finish_reason": "length"}],
            {"message": {"role": "assistant", "content": "Sun"}, "finish_reason": "length"},
        ),
        ({"choices": [{"message": {"content": "x"}}], "id": "c"}, {"message": {"content": "x"}}),
        ({"sky": "clear"}, {"message": {"role": "assistant", "content": '{"sky":"clear"}'}}),
        ('{"sky": "clear"}', {"message": {"role": "assistant", "content": '{"sky":"clear"}'}}),
    ],
)
def test_an_answer_may_be_text_a_message_a_completion_or_json_taken_apart(output: Any, choice: Any) -> None:
    assert fields_of(input=ASKED, output=output)["response"]["choices"] == [choice]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"output": "Sunny."}, "missing_request"),
        ({"input": ASKED}, "missing_response"),
        ({"input": ASKED, "level": "ERROR", "statusMessage": "rate limit"}, "errored_response"),
        ({"input": ASKED, "output": "Sun", "level": "ERROR"}, "incomplete_answer"),
    ],
)
def test_a_call_that_is_not_whole_is_refused_by_what_it_lacks(fields: dict[str, Any], reason: str) -> None:
    found = recorded(**fields).fields
    payloads = [bytes(found[name]) if name in found else None for name in ("request", "response")]
    extra = msgspec.json.encode({name: found[name] for name in found if name == "incomplete"})
    judged = Validator(ValidationConfig()).judge(*payloads, extra)
    assert isinstance(judged, Drop)
    assert judged.reason == reason


@pytest.mark.parametrize(
    "fields",
    [
        {"input": {"template": "x"}},
        {"input": [{"content": "x"}]},
        {"input": 7},
        {"input": {"messages": ASKED, "tools": "all"}},
        {"input": ASKED, "output": {"role": "tool", "content": "x"}},
    ],
)
def test_what_has_no_place_in_a_chat_is_a_problem_with_a_reason(fields: dict[str, Any]) -> None:
    found = recorded({"name": "refunds"}, **fields)
    assert found.problem is not None
    assert found.problem.reason == "unmappable_call"
    assert found.fields["workload_id"] == msgspec.Raw(b'"refunds"')


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "messages", "content", "tool_calls", "choices", "tools", "type"]), inner
        )
    ),
    max_leaves=10,
)


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["input", "output", "metadata", "modelParameters", "usage", "startTime", "endTime"]),
        anything,
    ),
    st.dictionaries(st.sampled_from(["tags", "name", "sessionId"]), anything),
)
def test_nothing_that_an_observation_may_hold_breaks_the_reading(
    fields: dict[str, Any], trace: dict[str, Any]
) -> None:
    found = recorded(trace, **fields)
    assert found.problem is not None or msgspec.json.encode(found.fields)
