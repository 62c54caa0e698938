"""Which metrics apply to an answer, and what they say.

An item whose reference calls tools is scored by its calls; one whose reference is words, by its text. In a workload
with tools "no tool" is a class of its own: there the call metrics count for plain items too, as 1 where the answer
calls nothing and 0 where it does, and an answer that calls a tool scores 0 on every text metric.

An answer that is there but wrong, empty included, is 0. An answer that is not there, or no chat completion, is
unscored: None. One that was cut off is scored as far as it goes; its finish reason is counted apart. Of several
choices the first is the answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flywheel.config.metrics import ArgumentConfig
from flywheel.errors import ScoringError
from flywheel.evaluation.comparators import with_rules
from flywheel.evaluation.text_metrics import TEXT_METRICS, text_scores
from flywheel.evaluation.tool_calls import Call, calls_of, partial_credit, same_calls, same_names, schemas_of
from flywheel.records.answers import answer_message, says_something
from flywheel.records.messages import content_text
from flywheel.results import EvalItem, Prediction

FUNCTION_NAME = "function_name"
FUNCTION_NAME_AND_ARGS = "function_name_and_args_accuracy"
TOOL_CALL_PARTIAL = "tool_call_partial"
TOOL_METRICS = (FUNCTION_NAME, FUNCTION_NAME_AND_ARGS, TOOL_CALL_PARTIAL)
METRICS = (*TOOL_METRICS, *TEXT_METRICS)
BINARY_METRICS = frozenset({FUNCTION_NAME, FUNCTION_NAME_AND_ARGS, "exact_match"})
PRIMARY_TEXT_METRIC = "rouge_l"


def uses_tools(items: Iterable[EvalItem]) -> bool:
    """Whether any item offers tools or was answered with a call."""
    return any(
        schemas_of(item.request) or item.request.get("tools") or reference_calls(item) for item in items
    )


def primary_metric(items: Sequence[EvalItem]) -> str | None:
    """The metric that stands for a set of items in tables: exact calls where there are tools, else ROUGE-L."""
    if not items:
        return None
    return FUNCTION_NAME_AND_ARGS if uses_tools(items) else PRIMARY_TEXT_METRIC


def metrics_for(item: EvalItem, tool_metrics: bool = True) -> tuple[str, ...]:
    """Names of the metrics that apply to one item; `tool_metrics` as `uses_tools` says for the whole set."""
    if reference_calls(item):
        return TOOL_METRICS
    return METRICS if tool_metrics else TEXT_METRICS


def score_answer(
    item: EvalItem,
    response: Mapping[str, Any] | None,
    tool_metrics: bool = True,
    rules: Sequence[ArgumentConfig] = (),
) -> dict[str, float | None]:
    """One value in [0, 1] for each metric that applies; None for all of them where there is no usable answer.

    Args:
        item: What was asked, and the reference.
        response: A chat completion, or None where there was no answer.
        tool_metrics: Whether call metrics apply to plain references too, as `uses_tools` says for the whole set.
        rules: How single arguments compare, in place of what their schema says.
    """
    try:
        message = candidate_message(response)
    except ScoringError:
        return dict.fromkeys(metrics_for(item, tool_metrics))
    return _scores(item, message, calls_of(message), tool_metrics, rules)


def _scores(
    item: EvalItem,
    message: Mapping[str, Any],
    calls: list[Call],
    tool_metrics: bool,
    rules: Sequence[ArgumentConfig],
) -> dict[str, float | None]:
    reference = reference_calls(item)
    if reference:
        called = {call.name for call in reference}
        schemas = with_rules(schemas_of(item.request), rules, called) if rules else schemas_of(item.request)
        strict = same_calls(reference, calls, schemas)
        return {
            FUNCTION_NAME: float(strict or same_names(reference, calls)),
            FUNCTION_NAME_AND_ARGS: float(strict),
            TOOL_CALL_PARTIAL: 1.0 if strict else partial_credit(reference, calls, schemas),
        }
    scores: dict[str, float | None] = {}
    if tool_metrics:
        # An empty answer makes no call either, but it agrees with nothing.
        scores |= dict.fromkeys(TOOL_METRICS, float(not calls and says_something(message)))
    if calls:
        return scores | dict.fromkeys(TEXT_METRICS, 0.0)
    return scores | text_scores(reference_text(item), content_text(message.get("content")))


def candidate_message(response: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The message of a response's first choice.

    Raises: ScoringError that says what is wrong with the response.
    """
    if response is None:
        raise ScoringError("no answer")
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ScoringError("the response is no chat completion: it has no choices")
    message = choices[0].get("message") if isinstance(choices[0], Mapping) else None
    if not isinstance(message, Mapping):
        raise ScoringError("the response is no chat completion: its first choice has no message")
    return message


def reference_calls(item: EvalItem) -> list[Call]:
    """The tool calls of production's answer; empty where it answered in words."""
    return calls_of(answer_message(item.response) or {})


def reference_text(item: EvalItem) -> str:
    """Production's answer in words; empty where there are none."""
    return content_text((answer_message(item.response) or {}).get("content"))


def scored(
    item: EvalItem,
    prediction: Prediction,
    tool_metrics: bool = True,
    rules: Sequence[ArgumentConfig] = (),
) -> Prediction:
    """`prediction` with its scores, its calls and what the response says of tokens and finish reason.

    Counts that the response does not give stay None: usage is never invented.
    """
    response = prediction.response
    error = prediction.error
    calls: list[Call] = []
    finish_reason = mean_logprob = None
    try:
        message = candidate_message(response)
        calls = calls_of(message)
        scores = _scores(item, message, calls, tool_metrics, rules)
        choice = (response or {})["choices"][0]
        finish_reason, mean_logprob = choice.get("finish_reason"), mean_logprob_of(choice)
    except ScoringError as unusable:
        error = error or str(unusable)
        scores = dict.fromkeys(metrics_for(item, tool_metrics))
    usage = (response or {}).get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    return msgspec.structs.replace(
        prediction,
        error=error,
        scores=scores,
        tokens_in=_count(usage.get("prompt_tokens")),
        tokens_out=_count(usage.get("completion_tokens")),
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        tool_calls=[
            {"name": call.name, "arguments": call.raw if call.arguments is None else call.arguments}
            for call in calls
        ],
        mean_logprob=mean_logprob,
    )


def mean_logprob_of(choice: Mapping[str, Any]) -> float | None:
    """Mean log-probability (natural) of the tokens that a choice states it of; None where it states none.

    Source: `logprobs.content` of the chat-completions API; some servers give the older `token_logprobs`.
    """
    stated = choice.get("logprobs")
    if not isinstance(stated, Mapping):
        return None
    content = stated.get("content")
    entries = content if isinstance(content, list) and content else stated.get("token_logprobs")
    found = [
        entry.get("logprob") if isinstance(entry, Mapping) else entry
        for entry in (entries if isinstance(entries, list) else ())
    ]
    known = [
        float(value)
        for value in found
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
    return math.fsum(known) / len(known) if known else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
