"""Answers that differ from the reference, worst first, as plain text that a person can read side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from flywheel.errors import ScoringError
from flywheel.evaluation.aggregate import Predictions, by_id
from flywheel.evaluation.scoring import (
    FUNCTION_NAME_AND_ARGS,
    METRICS,
    PRIMARY_TEXT_METRIC,
    candidate_message,
    reference_calls,
)
from flywheel.evaluation.tool_calls import Call, calls_of
from flywheel.records.answers import answer_message
from flywheel.records.messages import SYSTEM_ROLES, content_text, message_text
from flywheel.results import EvalItem, Prediction

KINDS = {
    "wrong tool": 5,
    "should not have called": 4,
    "missing call": 3,
    "wrong arguments": 2,
    "different text": 1,
}
"""What is wrong with an answer, and how bad that is: acting wrongly is worse than not acting."""

JUDGED, JUDGED_SAME = "similarity", 0.8
"""Where a judge rated two texts, its score says how far they differ; from here on they say the same."""

_MOST_HISTORY = 6


class DivergentAnswer(msgspec.Struct, frozen=True):
    """One answer that differs. `severity` is larger for worse; `score` is the item's own main score.

    `scores` are those of a judge and of metrics of the user's own, such as a check of policy; None is unscored.
    """

    id: str
    kind: str
    severity: float
    score: float
    prompt: str
    reference: str
    answer: str
    weight: int = 1
    scores: dict[str, float | None] = {}


def divergent_answers(
    items: Sequence[EvalItem], predictions: Predictions, most: int | None = None
) -> list[DivergentAnswer]:
    """The scored answers that are not the reference, worst first; unscored items are none, they have no answer.

    Ordered by kind, then by score, then by the calls that the item stands for, then by id. A plain item is judged by
    its text here, also where the workload's main score asks only whether a tool was called.
    """
    found = by_id(predictions)
    answers = [
        answer
        for item in items
        if item.id in found and (answer := _divergence(item, found[item.id])) is not None
    ]
    answers.sort(key=lambda answer: (-answer.severity, -answer.weight, answer.id))
    return answers[:most]


def compare_lines(answer: DivergentAnswer, width: int = 300) -> list[str]:
    """Four lines for a terminal: what is wrong, prompt, reference and answer, each on one line and cut to `width`."""
    return [
        f"{answer.kind} ({answer.id})",
        f"  prompt:    {_one_line(answer.prompt, width)}",
        f"  reference: {_one_line(answer.reference, width)}",
        f"  answer:    {_one_line(answer.answer, width)}",
    ]


def prompt_text(item: EvalItem) -> str:
    """The end of the conversation, without system messages; a lone user message stands without its role."""
    messages = [
        message
        for message in item.request.get("messages") or ()
        if isinstance(message, dict) and message.get("role") not in SYSTEM_ROLES
    ]
    if len(messages) == 1:
        return message_text(messages[0])
    shown = messages[-_MOST_HISTORY:]
    lines = [f"{message.get('role')}: {message_text(message)}" for message in shown]
    return "\n".join(["...", *lines] if len(messages) > len(shown) else lines)


def _divergence(item: EvalItem, prediction: Prediction) -> DivergentAnswer | None:
    try:
        message = candidate_message(prediction.response)
    except ScoringError:
        return None
    reference, calls = reference_calls(item), calls_of(message)
    metric = FUNCTION_NAME_AND_ARGS if reference or calls else PRIMARY_TEXT_METRIC
    score = prediction.scores.get(metric)
    if score is None and calls and not reference:
        score = 0.0  # a call where neither the reference nor the request knows of any
    same = 1.0
    if prediction.scores.get("exact_match") == 1.0:
        return None  # word for word the same, whatever a judge makes of it
    if not reference and not calls and (judged := prediction.scores.get(JUDGED)) is not None:
        score, same = judged, JUDGED_SAME
    if score is None or score >= same:
        return None
    kind = _kind(reference, calls)
    return DivergentAnswer(
        id=item.id,
        kind=kind,
        severity=KINDS[kind] + 0.99 * (1 - score),
        score=score,
        prompt=prompt_text(item),
        reference=_answer_text(answer_message(item.response) or {}, reference),
        answer=_answer_text(message, calls),
        weight=item.weight,
        scores={name: value for name, value in prediction.scores.items() if name not in METRICS},
    )


def _kind(reference: list[Call], calls: list[Call]) -> str:
    wanted, made = Counter(call.name for call in reference), Counter(call.name for call in calls)
    if not wanted:
        return "should not have called" if made else "different text"
    if made - wanted:
        return "wrong tool"
    return "missing call" if wanted - made else "wrong arguments"


def _answer_text(message: Any, calls: list[Call]) -> str:
    lines = [f"{call.name or '(no name)'}({_arguments_text(call)})" for call in calls]
    text = content_text(message.get("content")) or str(message.get("refusal") or "")
    return "\n".join([text, *lines] if text else lines) or "(empty answer)"


def _arguments_text(call: Call) -> str:
    if call.arguments is None:
        return str(call.raw)
    return json.dumps(call.arguments, ensure_ascii=False, sort_keys=True)


def _one_line(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
