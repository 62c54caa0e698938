"""Bodies of the chat protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blocks.local_platform.models.chat_format import ChatFormat
from blocks.local_platform.serving.chat_requests import BadRequest, completion, generation_of
from blocks.local_platform.serving.generation import Generation
from tests.fakes.toy_model import KNOWS_TOOLS, write_toy_model

TOOLS = [{"type": "function", "function": {"name": "go", "parameters": {"type": "object", "properties": {}}}}]
BODY: dict[str, Any] = {"model": "toy", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def chat_format(tmp_path_factory: pytest.TempPathFactory) -> ChatFormat:
    return ChatFormat(write_toy_model(tmp_path_factory.mktemp("model")))


def generation(chat_format: ChatFormat, **changes: Any) -> Generation:
    return generation_of({**BODY, **changes}, chat_format, 200)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"n": 2}, "n"),
        ({"stream": True}, "stream"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"max_tokens": -3}, "max_tokens"),
        ({"seed": "x"}, "seed"),
        ({"stop": [1]}, "stop"),
        ({"logprobs": 3}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 2}, "top_logprobs"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    chat_format: ChatFormat, changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        generation(chat_format, **changes)
    assert refused.value.status == 400
    assert refused.value.body["error"]["param"] == param


def test_a_prompt_beyond_the_context_has_the_code_that_clients_know(chat_format: ChatFormat) -> None:
    with pytest.raises(BadRequest) as refused:
        generation(chat_format, messages=[{"role": "user", "content": "x" * 300}])
    assert refused.value.body["error"]["code"] == "context_length_exceeded"


def test_an_answer_gets_no_more_room_than_the_context_leaves(chat_format: ChatFormat) -> None:
    made = generation(chat_format, max_tokens=5000)
    assert made.max_tokens + len(made.prompt) == 200


def test_both_names_of_the_bound_count(chat_format: ChatFormat) -> None:
    assert generation(chat_format, max_tokens=7).max_tokens == 7
    assert generation(chat_format, max_completion_tokens=7).max_tokens == 7


def test_a_demanded_call_is_begun_for_the_model(chat_format: ChatFormat) -> None:
    required = generation(chat_format, tools=TOOLS, tool_choice="required", max_tokens=100)
    named = {"type": "function", "function": {"name": "go"}}
    forced = generation(chat_format, tools=TOOLS, tool_choice=named)
    assert chat_format.decode(required.begun) == '<tool_call>{"name":"'
    assert chat_format.decode(forced.begun) == '<tool_call>{"name":"go","arguments":'


def test_a_model_with_its_own_notation_is_not_forced_into_ours(tmp_path: Path) -> None:
    own = ChatFormat(write_toy_model(tmp_path, template=KNOWS_TOOLS))
    assert generation(own, tools=TOOLS, tool_choice="required").begun == []


def test_tool_choice_none_shows_the_tools_as_training_does_and_reads_no_calls(
    chat_format: ChatFormat,
) -> None:
    body = {**BODY, "tools": TOOLS, "tool_choice": "none"}
    made = generation_of(body, chat_format, 500)
    assert made.prompt == chat_format.prompt(BODY["messages"], TOOLS)
    made.answer = chat_format.encode_text('<tool_call>{"name":"go","arguments":{}}</tool_call>')
    made.finish_reason = "stop"
    assert "tool_calls" not in completion(made, body, chat_format)["choices"][0]["message"]


def test_a_completion_has_usage_and_the_reason_it_ended(chat_format: ChatFormat) -> None:
    body = {**BODY, "tools": TOOLS}
    made = generation_of(body, chat_format, 500)
    made.answer = chat_format.encode_text('<tool_call>{"name":"go","arguments":{}}</tool_call>')
    made.finish_reason = "stop"
    answer = completion(made, body, chat_format)
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "go", "arguments": "{}"}
    used = answer["usage"]
    assert used["prompt_tokens"] + used["completion_tokens"] == used["total_tokens"]


def test_what_follows_a_stop_string_is_cut_off(chat_format: ChatFormat) -> None:
    made = generation(chat_format, stop="END")
    made.answer, made.finish_reason = chat_format.encode_text("yes END no"), "stop"
    assert completion(made, BODY, chat_format)["choices"][0]["message"]["content"] == "yes"


def test_log_probabilities_stand_beside_the_tokens_that_the_model_chose_itself(
    chat_format: ChatFormat,
) -> None:
    body = {**BODY, "tools": TOOLS, "tool_choice": "required", "logprobs": True}
    made = generation_of(body, chat_format, 500)
    (end, *_) = chat_format.stop_ids
    made.answer += [*chat_format.encode_text('go"}'), end]
    made.logprobs, made.finish_reason = [-0.1, -0.2, -0.3, -0.4, -0.5], "stop"
    told = completion(made, body, chat_format)["choices"][0]["logprobs"]["content"]
    assert [(entry["token"], entry["logprob"]) for entry in told] == list(
        zip('go"}', [-0.1, -0.2, -0.3, -0.4], strict=True)
    )
    assert bytes(told[0]["bytes"]) == b"g"
    made.tells_logprobs = False
    assert completion(made, body, chat_format)["choices"][0]["logprobs"] is None
