"""Shapes of evaluation and training rows, and that making them changes nothing they are made from."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from flywheel.datasets.evaluation_rows import encode_line, evaluation_row
from flywheel.datasets.training_rows import training_line

TOOLS = [{"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}]


def call(arguments: Any, call_id: str = "c1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "find_order", "arguments": arguments}}


def agent_request(arguments: Any = '{"id": 7}') -> dict[str, Any]:
    return {
        "model": "large",
        "temperature": 0,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Where is order 7?"},
            {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call(arguments)]},
            {"role": "tool", "tool_call_id": "c1", "content": "on its way"},
        ],
        "tools": TOOLS,
    }


def response(*messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "r",
        "choices": [
            {"index": i, "message": copy.deepcopy(m), "finish_reason": "stop"} for i, m in enumerate(messages)
        ],
    }


def row(
    request: dict[str, Any], answer: dict[str, Any], choice: int = 0, roles: str = "uat", parse: bool = True
) -> Any:
    line = training_line(json.dumps(request).encode(), json.dumps(answer).encode(), choice, roles, parse)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line)


CALLING = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [call('{"id": 8}', "c2")]}
PLAIN = {"role": "assistant", "content": "It is on its way."}


def test_a_training_row_has_messages_and_tools_and_nothing_else() -> None:
    made = row(agent_request(), response(PLAIN))
    assert list(made) == ["messages", "tools"]
    assert made["tools"] == TOOLS
    assert made["messages"][-1] == PLAIN


def test_history_and_answer_have_their_arguments_in_one_form() -> None:
    # parsing only the answer mixes both forms in one training row
    for logged in ('{"id": 7}', {"id": 7}):
        parsed = row(agent_request(logged), response(CALLING))["messages"]
        assert parsed[2]["tool_calls"][0]["function"]["arguments"] == {"id": 7}
        assert parsed[-1]["tool_calls"][0]["function"]["arguments"] == {"id": 8}
        text = row(agent_request(logged), response(CALLING), parse=False)["messages"]
        assert json.loads(text[2]["tool_calls"][0]["function"]["arguments"]) == {"id": 7}
        assert text[-1]["tool_calls"][0]["function"]["arguments"] == '{"id": 8}'


@pytest.mark.parametrize("answer", [CALLING, {k: v for k, v in CALLING.items() if k != "content"}])
def test_an_answer_that_only_calls_has_an_empty_text_not_the_word_none(answer: dict[str, Any]) -> None:
    made = row(agent_request(), response(answer))["messages"]
    assert made[-1]["content"] == ""
    assert made[2]["content"] == ""
    assert set(made[-1]) == {"role", "content", "tool_calls"}


def test_the_answer_is_the_choice_that_was_used() -> None:
    # taking choice 0 trains on an empty answer
    empty = {"role": "assistant", "content": ""}
    assert row(agent_request(), response(empty, PLAIN), choice=1)["messages"][-1] == PLAIN


def test_an_answer_without_a_tool_is_a_row_too() -> None:
    request = {"messages": [{"role": "user", "content": "hi"}], "tools": TOOLS}
    assert row(request, response(PLAIN), roles="u")["messages"] == [*request["messages"], PLAIN]


@pytest.mark.parametrize("extra", [{}, {"tools": None}, {"tools": []}])
def test_a_request_without_tools_has_an_empty_list_of_them(extra: dict[str, Any]) -> None:
    request = {"messages": [{"role": "user", "content": "hi"}], **extra}
    assert row(request, response(PLAIN), roles="u")["tools"] == []


def test_a_history_without_answers_is_copied_as_it_was_logged() -> None:
    request = b'{"messages": [ {"role":"user","content":"caf\\u00e9 1.10", "n": 1.10} ] , "tools":null}'
    line = training_line(request, json.dumps(response(PLAIN)).encode(), 0, "u", True)
    assert b'{"role":"user","content":"caf\\u00e9 1.10", "n": 1.10}' in line
    assert json.loads(line)["messages"] == [{"role": "user", "content": "café 1.10", "n": 1.1}, PLAIN]


def test_json_spread_over_lines_becomes_one_line() -> None:
    request = {"messages": [{"role": "user", "content": "a\nb"}], "tools": TOOLS}
    line = training_line(
        json.dumps(request, indent=2).encode(), json.dumps(response(PLAIN)).encode(), 0, "u", True
    )
    assert line.count(b"\n") == 1
    assert json.loads(line)["messages"][0]["content"] == "a\nb"
    assert json.loads(line)["tools"] == TOOLS


def test_function_calls_of_the_older_api_become_tool_calls_with_ids_that_pair() -> None:
    function = TOOLS[0]["function"]
    request = {
        "messages": [
            {"role": "user", "content": "Where is order 7?"},
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "find_order", "arguments": '{"id": 7}'},
            },
            {"role": "function", "name": "find_order", "content": "on its way"},
        ],
        "functions": [function],
    }
    made = row(request, response(PLAIN))
    assert made["tools"] == TOOLS
    assert made["messages"][1]["tool_calls"][0]["function"] == {"name": "find_order", "arguments": {"id": 7}}
    assert made["messages"][2]["tool_call_id"] == made["messages"][1]["tool_calls"][0]["id"]


def test_an_evaluation_row_is_the_logged_call_with_arguments_in_one_form() -> None:
    request, answer = agent_request(), response(CALLING)
    made = evaluation_row("r1", request, answer, "c9", 3, parse_function_arguments=True)
    assert list(made) == ["id", "request", "response", "cluster", "weight"]
    assert made["request"]["messages"][2]["tool_calls"][0]["function"]["arguments"] == {"id": 7}
    assert made["response"]["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == {"id": 8}
    assert made["request"]["temperature"] == 0
    back = evaluation_row("r1", made["request"], made["response"], "c9", 3, parse_function_arguments=False)
    assert json.loads(back["request"]["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"id": 7}
    assert json.loads(encode_line(made)) == made
    of_talk = evaluation_row("r1", request, answer, "c9", 3, True, "talk", 5.0)
    assert {**made, "conversation": "talk", "timestamp": 5.0} == of_talk
    assert evaluation_row("r1", request, answer, "c9", 3, True, None, 5.0) == made


@pytest.mark.parametrize("parse", [True, False])
def test_the_older_function_choice_of_an_evaluation_row_is_as_logged(parse: bool) -> None:
    request = {**agent_request(), "functions": [{"name": "f"}], "function_call": {"name": "f"}}
    made = evaluation_row("r1", request, response(PLAIN), "c1", 1, parse_function_arguments=parse)
    assert made["request"]["function_call"] == {"name": "f"}


def test_making_rows_changes_no_record() -> None:
    # blanking the answer in place once took it away from the in-context examples too
    request, answer = agent_request(), response(CALLING, PLAIN)
    before = copy.deepcopy((request, answer))
    made = evaluation_row("r1", request, answer, "c", 1, True)
    assert [c["message"]["content"] for c in made["response"]["choices"]] == [None, "It is on its way."]
    made["request"]["messages"].append("added later")
    evaluation_row("r1", request, answer, "c", 1, False)
    assert (request, answer) == before
