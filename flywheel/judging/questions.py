"""From items and answers to what a judge is asked, and to what is settled without asking."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from flywheel.config import ArgumentConfig
from flywheel.errors import ScoringError
from flywheel.evaluation.scoring import (
    FUNCTION_NAME_AND_ARGS,
    candidate_message,
    reference_calls,
    score_answer,
)
from flywheel.evaluation.tool_calls import calls_of
from flywheel.judging.fencing import explanation, fenced, shortened, tag_of
from flywheel.judging.metrics import JudgeMetric, filled
from flywheel.judging.parsing import instruction
from flywheel.records.answers import answer_message
from flywheel.records.messages import message_text
from flywheel.results import EvalItem, Prediction

Outcome = Literal["rated", "settled", "parse_failure", "no_verdict"]
_SHARE_STEPS = 2**32


class JudgeVerdict(msgspec.Struct, frozen=True):
    """One line of `verdicts.jsonl`: one answer under one metric.

    `rating` is on the metric's own scale and `score` the same as a share of it, both None where there is no verdict;
    `outcome` says how it came about: rated by the judge, settled without it (`reason` says why), a verdict that could
    not be read, or none because the judge could not be reached. `key` names the content that was judged, whoever
    judged it: a rating by a person under the same key is about the same thing. `truth` is what a program knows of the
    answer (1 same, 0 different), `swapped_rating` the rating in the other order where that was tried.
    """

    key: str
    id: str
    metric: str
    outcome: Outcome
    rating: int | None = None
    score: float | None = None
    reason: str = ""
    swapped_rating: int | None = None
    truth: float | None = None
    prompt: str = ""
    reference: str = ""
    answer: str = ""
    cluster: str = ""
    weight: int = 1


class Question(msgspec.Struct, frozen=True):
    """One answer to be rated. `probe` asks for it in the other order too. Texts as a person would read them."""

    key: str
    item: EvalItem
    metric: JudgeMetric
    conversation: str
    tools: str
    reference: str
    answer: str
    truth: float | None
    probe: bool

    def messages(self, *, structured: bool, swapped: bool, most: int) -> list[dict[str, str]]:
        """The chat messages for the judge; texts longer than `most` characters lose their middle."""
        shown = [
            shortened(text, most) for text in (self.conversation, self.tools, self.reference, self.answer)
        ]
        conversation, tools, reference, answer = shown
        tag = tag_of([self.metric.name, *shown])
        both = [fenced("reference", reference, tag), fenced("answer", answer, tag)]
        values = {
            "answers": "\n\n".join(both[::-1] if swapped else both),
            "reference": both[0],
            "answer": both[1],
            "conversation": fenced("conversation", conversation, tag),
            "tools": fenced("tools", tools, tag),
            "low": str(self.metric.low),
            "high": str(self.metric.high),
            "fence": explanation(tag),
            "output": instruction(self.metric.low, self.metric.high, structured),
        }
        messages = [{"role": "system", "content": filled(self.metric.system, values)}]
        messages.append({"role": "user", "content": filled(self.metric.user, values)})
        return [message for message in messages if message["content"]]

    def verdict(self, outcome: Outcome, **more: Any) -> JudgeVerdict:
        """The line for this question."""
        return JudgeVerdict(
            key=self.key,
            id=self.item.id,
            metric=self.metric.name,
            outcome=outcome,
            truth=self.truth,
            prompt=self.conversation,
            reference=self.reference,
            answer=self.answer,
            cluster=self.item.cluster,
            weight=self.item.weight,
            **more,
        )


def questions_for(
    items: Iterable[EvalItem],
    predictions: Mapping[str, Prediction],
    metrics: Sequence[JudgeMetric],
    probe_share: float,
) -> tuple[list[Question], list[JudgeVerdict]]:
    """What to ask, and the verdicts that need no asking. An answer that is not there gets neither.

    Of a reference in words an answer that calls a tool, and of a reference that calls tools an answer in words, is as
    wrong as it can be, and so is an empty answer.
    """
    questions: list[Question] = []
    settled: list[JudgeVerdict] = []
    for item in items:
        prediction = predictions.get(item.id)
        if prediction is None:
            continue
        for metric in metrics:
            if not applies(metric, item):
                continue
            try:
                question, why = _question(item, prediction, metric, probe_share)
            except ScoringError:
                continue
            if why:
                settled.append(question.verdict("settled", rating=metric.low, score=0.0, reason=why))
            elif metric.rules and (known := _known_by_rules(item, prediction, metric.rules)) is not None:
                rating = metric.high if known else metric.low
                why = "right by the rules" if known else "wrong beside what is left to the judge"
                settled.append(question.verdict("settled", rating=rating, score=float(known), reason=why))
            else:
                questions.append(question)
    return questions, settled


def applies(metric: JudgeMetric, item: EvalItem) -> bool:
    """Whether a metric is about items of this kind."""
    if metric.applies_to == "all":
        return True
    return bool(reference_calls(item)) == (metric.applies_to == "calls")


def by_item(verdicts: Iterable[JudgeVerdict]) -> dict[tuple[str, str], JudgeVerdict]:
    """Verdicts by item id and metric."""
    return {(verdict.id, verdict.metric): verdict for verdict in verdicts}


def with_verdicts(
    item: EvalItem,
    prediction: Prediction,
    metrics: Sequence[JudgeMetric],
    verdicts: Mapping[tuple[str, str], JudgeVerdict],
) -> Prediction:
    """`prediction` with the judge's scores; None where a metric applies and there is no verdict.

    Args:
        verdicts: As `by_item` gives them.
    """
    scores = dict(prediction.scores)
    for metric in metrics:
        if applies(metric, item):
            verdict = verdicts.get((item.id, metric.name))
            scores[metric.name] = verdict.score if verdict else None
    return msgspec.structs.replace(prediction, scores=scores)


def _question(
    item: EvalItem, prediction: Prediction, metric: JudgeMetric, probe_share: float
) -> tuple[Question, str]:
    """The question, and why it need not be asked. Raises: ScoringError where there is no answer."""
    message = candidate_message(prediction.response)
    reference = message_text(answer_message(item.response) or {})
    answer = message_text(message)
    conversation = conversation_text(item.request)
    tools = _tools_text(item.request)
    key = key_of(metric.name, [conversation, tools, reference, answer])
    wanted, made = bool(reference_calls(item)), bool(calls_of(message))
    why = ""
    if made and not wanted:
        why = "calls a tool where production answered in words"
    elif wanted and not made:
        why = "calls no tool where production did"
    elif not answer.strip():
        why = "the answer is empty"
    if metric.applies_to == "all" and why != "the answer is empty":
        why = ""  # a metric of the user's own may see that otherwise
    probe = metric.can_swap and int(key[:8], 16) < probe_share * _SHARE_STEPS
    question = Question(
        key, item, metric, conversation, tools, reference, answer, _truth(metric, prediction), probe
    )
    return question, why


def _known_by_rules(item: EvalItem, prediction: Prediction, rules: Sequence[ArgumentConfig]) -> bool | None:
    """Whether the calls are right, where that does not hang on the arguments left to the judge; None where it does."""

    def right(these: Sequence[ArgumentConfig]) -> bool:
        return score_answer(item, prediction.response, rules=these)[FUNCTION_NAME_AND_ARGS] == 1.0

    if right(rules):
        return True
    without = [
        rule.model_copy(update={"compare": "ignore"}) if rule.compare == "judge" else rule for rule in rules
    ]
    return None if right(without) else False


def key_of(metric: str, texts: Iterable[str]) -> str:
    """32 hexadecimal digits that name a metric and everything that was judged under it."""
    digest = hashlib.sha256()
    for text in (metric, *texts):
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()[:32]


def conversation_text(request: Mapping[str, Any]) -> str:
    """All messages of a request, each with its role before it."""
    messages = request.get("messages")
    return "\n\n".join(
        f"{message.get('role')}:\n{message_text(message)}"
        for message in (messages if isinstance(messages, list) else ())
        if isinstance(message, Mapping)
    )


def _tools_text(request: Mapping[str, Any]) -> str:
    offered = [*(request.get("tools") or ()), *(request.get("functions") or ())]
    return "\n".join(msgspec.json.encode(tool).decode() for tool in offered) or "(none)"


def _truth(metric: JudgeMetric, prediction: Prediction) -> float | None:
    """What a program knows: whether calls are the same, and of texts, that equal ones are."""
    if metric.applies_to == "calls" and not metric.rules:
        return prediction.scores.get(FUNCTION_NAME_AND_ARGS)
    if metric.applies_to == "text":
        return 1.0 if prediction.scores.get("exact_match") == 1.0 else None
    return None
