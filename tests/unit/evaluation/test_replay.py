from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from flywheel.config import EvaluationConfig
from flywheel.datasets.training_rows import training_line
from flywheel.errors import DataError
from flywheel.evaluation.replay import replay, summary_of_overrides
from tests.unit.evaluation.cases import WEATHER

PLAIN = EvaluationConfig()
LOGGED: dict[str, Any] = {
    "model": "large",
    "messages": [
        {"role": "user", "content": "hi", "name": None},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": {"city": "Bonn"}},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ],
    "tools": [WEATHER],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "temperature": 0.7,
    "top_p": 0.9,
    "max_tokens": 64,
    "response_format": {"type": "json_object"},
    "seed": 0,
    "stop": ["END"],
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
}


def test_what_decides_the_answer_is_sent_as_it_was_logged() -> None:
    body, overrides = replay(LOGGED, "small", PLAIN)
    assert overrides == {}
    assert {k: v for k, v in body.items() if k not in ("model", "messages")} == {
        k: v for k, v in LOGGED.items() if k not in ("model", "messages")
    }
    assert body["model"] == "small"


@pytest.mark.parametrize("choice", [..., "auto", "none", "required", {"type": "function"}])
def test_a_call_is_demanded_only_where_production_demanded_one(choice: Any) -> None:
    """A model that is forced to call can never be seen calling where it should not."""
    request = {key: value for key, value in (LOGGED | {"tool_choice": choice}).items() if value is not ...}
    body, overrides = replay(request, "small", PLAIN)
    assert body.get("tool_choice", ...) == choice
    assert body["tools"] == [WEATHER]
    assert overrides == {}


def test_arguments_of_the_history_go_out_as_text_and_nulls_stay_home() -> None:
    user, assistant, tool = replay(LOGGED, "small", PLAIN).body["messages"]
    assert user == {"role": "user", "content": "hi"}
    assert assistant["tool_calls"][0]["function"]["arguments"] == '{"city":"Bonn"}'
    assert assistant["content"] is None
    assert "refusal" not in assistant
    assert tool == LOGGED["messages"][2]


def test_replaying_changes_nothing_in_the_item() -> None:
    before = copy.deepcopy(LOGGED)
    body = replay(LOGGED, "small", EvaluationConfig(temperature=0, max_tokens=5)).body
    assert before == LOGGED
    assert body["temperature"] == 0


def test_transport_and_bookkeeping_are_left_out_without_a_word() -> None:
    noise = {"stream": True, "stream_options": {}, "user": "u", "metadata": {"a": "b"}, "store": True, "n": 3}
    body, overrides = replay({**LOGGED, **noise, "service_tier": "flex"}, "small", PLAIN)
    assert overrides == {}
    assert not (noise.keys() | {"service_tier"}) & body.keys()


def test_a_field_of_one_vendor_is_left_out_and_recorded() -> None:
    body, overrides = replay({**LOGGED, "logit_bias": {"50256": -100}}, "small", PLAIN)
    assert overrides == {"logit_bias": None}
    assert "logit_bias" not in body


def test_a_fields_null_counts_as_absent() -> None:
    body, overrides = replay(
        {**LOGGED, "tools": None, "tool_choice": None, "logit_bias": None}, "small", PLAIN
    )
    assert not {"tools", "tool_choice", "logit_bias"} & body.keys()
    assert overrides == {}


def test_settings_override_what_was_logged_and_say_so() -> None:
    body, overrides = replay(LOGGED, "small", EvaluationConfig(temperature=0, max_tokens=100))
    assert overrides == {"temperature": 0, "max_tokens": 100}
    assert (body["temperature"], body["max_tokens"]) == (0, 100)


def test_a_setting_that_equals_the_log_overrides_nothing() -> None:
    assert replay(LOGGED, "small", EvaluationConfig(temperature=0.7, max_tokens=64)).overrides == {}


def test_the_bound_is_overridden_under_the_name_it_was_logged_with() -> None:
    request = {"messages": LOGGED["messages"], "max_completion_tokens": 900}
    body, overrides = replay(request, "small", EvaluationConfig(max_tokens=10))
    assert (body["max_completion_tokens"], overrides) == (10, {"max_completion_tokens": 10})
    assert "max_tokens" not in body


def test_an_answer_without_a_logged_bound_gets_the_default_one() -> None:
    body, overrides = replay({"messages": LOGGED["messages"]}, "small", PLAIN)
    assert body["max_tokens"] == overrides["max_tokens"] == PLAIN.default_max_tokens


def test_an_empty_tool_list_is_not_sent() -> None:
    body = replay({"messages": LOGGED["messages"], "tools": [], "tool_choice": "auto"}, "small", PLAIN).body
    assert not {"tools", "tool_choice"} & body.keys()


def test_calls_of_the_older_api_are_asked_for_as_a_model_learns_them() -> None:
    """Servers of open models read no `functions`: asked so, the small model would not even see its tools."""
    called = {"role": "assistant", "content": None}
    request = {
        "messages": [
            {"role": "user", "content": "Bonn?"},
            {**called, "function_call": {"name": "get_weather", "arguments": {"city": "Bonn"}}},
            {"role": "function", "name": "get_weather", "content": "sunny"},
            {"role": "user", "content": "And Rome?"},
        ],
        "functions": [WEATHER["function"]],
        "function_call": {"name": "get_weather"},
        "max_tokens": 64,
    }
    answer = {**called, "function_call": {"name": "get_weather", "arguments": '{"city":"Rome"}'}}
    logged, said = json.dumps(request).encode(), json.dumps({"choices": [{"message": answer}]}).encode()
    row = json.loads(training_line(logged, said, 0, "uafu", parse_function_arguments=False))

    body, overrides = replay(request, "small", PLAIN)

    assert body == {
        "model": "small",
        "messages": row["messages"][:-1],
        "tools": row["tools"],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "max_tokens": 64,
    }
    assert row["tools"] == [WEATHER]
    assert overrides == {}


@pytest.mark.parametrize("request_", [{}, {"messages": []}, {"messages": None}, {"messages": "hi"}])
def test_an_item_without_messages_cannot_be_asked(request_: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="no messages"):
        replay(request_, "small", PLAIN)


def test_overrides_of_many_items_are_summed_up() -> None:
    found = summary_of_overrides([{"temperature": 0}, {"temperature": 0, "max_tokens": 5}, {"max_tokens": 6}])
    assert found == {"temperature": {"items": 2, "sent": [0]}, "max_tokens": {"items": 2, "sent": [5, 6]}}
