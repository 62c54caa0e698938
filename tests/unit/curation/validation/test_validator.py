"""Which record is kept, and the reason of each that is not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flywheel.config import ValidationConfig
from flywheel.curation.validation.validator import Validator
from flywheel.curation.validation.verdicts import REASONS, Drop, Keep
from tests.unit.curation.calls import TOOLS, call, request, response

USER = {"role": "user", "content": "hi"}
ASKED = {"role": "assistant", "content": None, "tool_calls": [call()]}
TOOL = {"role": "tool", "tool_call_id": "c1", "content": "at the depot"}
FINE = response(content="hello")


def judge(asked: Any, answered: Any, extra: Any = None, **settings: Any) -> Keep | Drop:
    encoded = [None if part is None else msgspec.json.encode(part) for part in (asked, answered, extra)]
    return Validator(ValidationConfig(**settings)).judge(*encoded)


def reason(asked: Any, answered: Any, extra: Any = None, **settings: Any) -> str:
    verdict = judge(asked, answered, extra, **settings)
    assert isinstance(verdict, Drop), verdict
    assert verdict.detail
    assert verdict.reason in REASONS
    return verdict.reason


def keep(asked: Any, answered: Any, **settings: Any) -> Keep:
    verdict = judge(asked, answered, **settings)
    assert isinstance(verdict, Keep), verdict
    return verdict


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], "no_messages"),
        ([None], "bad_message"),
        (["hi"], "bad_message"),
        ([{"role": "user", "content": None}], "bad_message"),
        ([{"role": "user"}], "bad_message"),
        ([{"role": "user", "content": 3}], "bad_message"),
        ([{"role": "user", "content": [{"text": "no type"}]}], "bad_message"),
        ([{"role": "user", "content": [3]}], "bad_message"),
        ([USER, {"role": "assistant"}], "bad_message"),
        ([USER, {"role": "assistant", "content": None, "tool_calls": []}], "bad_message"),
        ([USER, ASKED, {**TOOL, "content": None}], "bad_message"),
        ([{"content": "hi"}], "bad_role"),
        ([{"role": None, "content": "hi"}], "bad_role"),
        ([{"role": ["user"], "content": "hi"}], "bad_role"),
        ([{"role": ["system"], "content": "hi"}, USER], "bad_role"),
        ([{"role": "User", "content": "hi"}], "bad_role"),
        ([USER, TOOL], "tool_call_id_unmatched"),
        ([USER, TOOL, ASKED], "tool_call_id_unmatched"),  # the result stands before the call
        ([USER, ASKED, {**TOOL, "tool_call_id": "c2"}], "tool_call_id_unmatched"),
        ([USER, ASKED, {"role": "tool", "content": "x"}], "tool_call_id_unmatched"),
        ([USER, {"role": "assistant", "tool_calls": [call(arguments="{")]}, TOOL], "arguments_not_json"),
        ([USER, {"role": "assistant", "tool_calls": [{"type": "custom"}]}], "tool_call_not_function"),
        ([USER, {"role": "assistant", "tool_calls": "track"}], "tool_call_not_function"),
        ([USER, {"role": "assistant", "function_call": "track"}], "tool_call_not_function"),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused_with_its_reason(messages: list[Any], expected: str) -> None:
    assert reason({"messages": messages}, FINE) == expected


@pytest.mark.parametrize("messages", [None, "hi", {}, 3])
def test_messages_that_are_no_list_are_no_messages(messages: Any) -> None:
    assert reason({"messages": messages}, FINE) == "no_messages"
    assert reason({}, FINE) == "no_messages"


@pytest.mark.parametrize(
    "messages",
    [
        [USER],
        [{"role": "system", "content": "s"}, {"role": "developer", "content": "d"}, USER],
        [{"role": "system", "content": "s"}],
        [{"role": "user", "content": ""}],
        [
            {
                "role": "user",
                "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {}}],
            }
        ],
        [USER, ASKED, TOOL],
        [
            USER,
            {"role": "assistant", "tool_calls": [call(), call(call_id="c2")]},
            {**TOOL, "tool_call_id": "c2"},
            TOOL,
        ],
        [USER, {"role": "assistant", "tool_calls": [call(arguments={"order": "A1"})]}, TOOL],
        [USER, {"role": "assistant", "content": "", "tool_calls": None}],
        [USER, {"role": "assistant", "refusal": "no"}, USER],
        [
            USER,
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "x"},
        ],
    ],
)
def test_a_request_that_the_api_allows_is_kept(messages: list[Any]) -> None:
    assert keep({"messages": messages}, FINE).messages == messages


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        ({}, "no_answer"),
        ({"choices": []}, "no_answer"),
        ({"choices": None}, "no_answer"),
        ({"choices": {}}, "no_answer"),
        ({"choices": [None]}, "no_answer"),
        ({"choices": [{"finish_reason": "stop", "message": None}]}, "no_answer"),
        ({"error": {"message": "overloaded"}}, "errored_response"),
        ({"error": "overloaded", "choices": []}, "errored_response"),
        (response(content=None), "empty_answer"),
        (response(content=""), "empty_answer"),
        (response(content=" \n"), "empty_answer"),
        (response(content=[]), "empty_answer"),
        (response(tool_calls=[]), "empty_answer"),
        (response("length", content="hel"), "truncated_answer"),
        (response("length", content=""), "truncated_answer"),
        (response("content_filter", content="hel"), "truncated_answer"),
        (response(refusal="I cannot help with that."), "refused_answer"),
        (response(content=[{"type": "refusal", "refusal": "no"}]), "refused_answer"),
        (response(tool_calls=[{"type": "custom", "custom": {}}]), "tool_call_not_function"),
        (response(tool_calls=[{"type": "function"}]), "tool_call_not_function"),
        (response(tool_calls=[{"function": {"name": ""}}]), "tool_call_not_function"),
        (response(tool_calls=[call(), 3]), "tool_call_not_function"),
        (response(tool_calls=[call(arguments='{"order": "A')]), "arguments_not_json"),
        (response(tool_calls=[call(arguments="[1]")]), "arguments_not_json"),
        (response(tool_calls=[call(arguments=5)]), "arguments_not_json"),
        (response(content=5), "bad_message"),
        ({"choices": [{"message": {"role": "user", "content": "x"}}]}, "bad_role"),
    ],
)
def test_an_answer_that_cannot_be_learnt_from_is_refused_with_its_reason(
    answered: Any, expected: str
) -> None:
    assert reason(request(), answered) == expected


def test_a_payload_that_is_not_there_is_named() -> None:
    assert reason(None, FINE) == "missing_request"
    assert reason(request(), None) == "missing_response"


@pytest.mark.parametrize("when", [0, "soon", 32_503_680_000, [1]])
def test_a_time_that_could_not_be_read_is_the_reason(when: Any) -> None:
    assert reason(request(), FINE, {"timestamp": when, "other": 1}) == "bad_timestamp"


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"incomplete": "the stream was not read to its end"}, "incomplete_answer"),
        ({"truncated": [{"path": "request.messages[0].content", "characters": 9, "kept": 4}]}, "cut_payload"),
        ({"truncated": True}, "cut_payload"),
    ],
)
def test_a_call_that_its_exporter_did_not_log_whole_is_refused(extra: Any, expected: str) -> None:
    """Cut text looks like any other, so a model would learn it."""
    assert reason(request(), FINE, extra) == expected


@pytest.mark.parametrize("nothing", [False, None, [], ""])
def test_a_mark_that_says_nothing_is_no_reason(nothing: Any) -> None:
    assert isinstance(judge(request(), FINE, {"incomplete": nothing, "truncated": nothing}), Keep)


def test_other_unknown_fields_are_no_reason() -> None:
    assert isinstance(judge(request(), FINE, {"region": "eu"}), Keep)


def test_a_payload_that_is_no_json_is_refused() -> None:
    for text in (b'{"messages": [', b"{" * 100_000, b'{"messages": 1e999}', b'{"messages": ["\xff"]}'):
        verdict = Validator(ValidationConfig()).judge(text, b"{}")
        assert isinstance(verdict, Drop)
        assert verdict.reason == "not_json"


def test_truncated_answers_are_kept_only_if_the_settings_say_so() -> None:
    assert keep(request(), response("length", content="hel"), refuse_truncated=False).choice == 0
    assert reason(request(), response("length", content=""), refuse_truncated=False) == "empty_answer"


def test_of_several_choices_the_first_usable_one_is_used() -> None:
    """A call in the second choice must neither be lost nor turn into training on an empty answer."""
    empty, full = response(content="")["choices"], response(tool_calls=[call()])["choices"]
    verdict = keep(request(), {"choices": empty + full})
    assert (verdict.choice, verdict.choices) == (1, 2)
    assert verdict.answer["tool_calls"] == [call()]


@pytest.mark.parametrize("tools", [None, [], ...])
def test_no_tools_in_any_spelling_is_fine(tools: Any) -> None:
    asked = {key: value for key, value in request(tools=tools).items() if value is not ...}
    assert keep(asked, FINE).violations == []


@pytest.mark.parametrize(
    "offered",
    [{"tools": "track"}, {"tools": {}}, {"tools": [5]}, {"functions": "track"}, {"functions": [{}]}]
    + [{"tools": [{"type": "function", "function": function}]} for function in (None, {}, {"name": 3})],
)
def test_tools_that_the_api_does_not_know_are_refused(offered: dict[str, Any]) -> None:
    # one such record among a million would stop the steps that read the tools
    assert reason({"messages": [USER], **offered}, FINE) == "bad_tools"


def test_a_tool_of_a_hosted_api_that_is_no_function_is_fine() -> None:
    keep(request(tools=[{"type": "web_search"}, *TOOLS]), FINE)


def test_any_number_of_tools_with_any_number_of_parameters_is_fine() -> None:
    """Limits of one trainer or server belong to it, not to what was logged."""
    parameters = {"type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(60)}}
    tools = [
        {"type": "function", "function": {"name": f"t{i}", "parameters": parameters}} for i in range(200)
    ]
    answered = response(tool_calls=[call("t199", {f"p{i}": i for i in range(60)})])
    assert keep(request(tools=tools), answered).violations == []


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (call(arguments="{}"), '"order" is a required property'),
        (call(arguments={"order": 5}), "arguments.order"),
        (call(arguments='{"order": "A", "extra": 1}'), "extra"),
        (call("fly", "{}"), "fly is not among the request's tools"),
    ],
)
def test_arguments_that_break_the_schema_are_reported_and_refused_only_if_asked(made: Any, says: str) -> None:
    answered = response(tool_calls=[call(), made])
    (violation,) = keep(request(), answered).violations
    assert says in violation
    assert reason(request(), answered, refuse_schema_violations=True) == "arguments_break_schema"
    assert keep(request(), answered, check_tool_arguments=False).violations == []


def test_whole_numbers_written_as_floats_are_integers_to_the_schema() -> None:
    assert (
        keep(request(), response(tool_calls=[call(arguments='{"order": "A", "count": 2.0}')])).violations
        == []
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "dict"},
        {"$ref": "https://example.org/schema.json"},
        {"$ref": "#/nowhere"},
        {"pattern": "("},
        [],
        "object",
        5,
    ],
)
def test_a_schema_that_is_none_is_reported_and_holds_nothing_against_the_answer(schema: Any) -> None:
    tools = [{"type": "function", "function": {"name": "track", "parameters": schema}}]
    verdict = keep(request(tools=tools), response(tool_calls=[call()]), refuse_schema_violations=True)
    assert (verdict.violations, verdict.unusable_schemas) == ([], ["track"])


@pytest.mark.parametrize("schema", [None, {}, True])
def test_a_tool_without_parameters_takes_any_arguments(schema: Any) -> None:
    tools = [{"type": "function", "function": {"name": "track", "parameters": schema}}]
    verdict = keep(request(tools=tools), response(tool_calls=[call()]))
    assert (verdict.violations, verdict.unusable_schemas) == ([], [])


def test_the_older_functions_are_checked_as_well() -> None:
    asked = {"messages": [USER], "functions": [TOOLS[0]["function"]]}
    answered = response(function_call={"name": "track", "arguments": "{}"})
    assert len(keep(asked, answered).violations) == 1
