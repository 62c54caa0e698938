"""Scores of conversations: does the candidate go production's way to the end, and where does it leave it?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from flywheel.config.metrics import ArgumentConfig
from flywheel.evaluation.comparators import with_rules
from flywheel.evaluation.conversations import conversations_of
from flywheel.evaluation.scoring import (
    BINARY_METRICS,
    FUNCTION_NAME_AND_ARGS,
    METRICS,
    reference_calls,
    uses_tools,
)
from flywheel.evaluation.statistics import mean_score
from flywheel.evaluation.tool_calls import Call, Schemas, calls_of, same_calls, schemas_of
from flywheel.findings.bounds import Bounds
from flywheel.findings.trajectories import ShareOf, Trajectories
from flywheel.results import EvalItem, Prediction

WORD_FOR_WORD = "exact_match"


class _Conversation(NamedTuple):
    """One conversation: ids of its steps, production's calls at each, and the schemas of all tools."""

    cluster: str
    steps: list[str]
    calls: list[list[Call]]
    schemas: Schemas


class Conversations:
    """The conversations among some evaluation items, held against any number of evaluations.

    Args:
        items: Gone through several times; texts are not held.
        rules: How single arguments compare.
        level: Of the intervals.
    """

    def __init__(
        self, items: Sequence[EvalItem], rules: Sequence[ArgumentConfig] = (), level: float = 0.95
    ) -> None:
        self._level = level
        found = conversations_of(items)
        self._tools = bool(found) and uses_tools(items)
        self._conversations = _read(items, found, rules)

    def scored(
        self, candidate: str, eval_type: str, predictions: Iterable[Prediction], primary: str
    ) -> Trajectories | None:
        """Scores of one evaluation; None where there is no conversation of two steps or more.

        A step agrees where the main score is 1, if that can only be 0 or 1; else where the calls are the same, or
        without tools where the text is.
        """
        if not self._conversations:
            return None
        answers = {prediction.id: prediction for prediction in predictions}
        metric = self._metric(answers.values(), primary)
        told = [
            [_agrees(answers.get(step), metric) for step in conversation.steps]
            for conversation in self._conversations
        ]
        first = [_first_divergence(agreeing) for agreeing in told]
        lengths = [len(agreeing) for agreeing in told]
        before = [
            None if at is None else (at if at >= 0 else length)
            for at, length in zip(first, lengths, strict=True)
        ]
        known = [steps for steps in before if steps is not None]
        return Trajectories(
            candidate=candidate,
            eval_type=eval_type,
            metric=metric,
            conversations=len(told),
            steps=sum(lengths),
            all_agree=self._share([_all(agreeing) for agreeing in told], binary=True),
            agreeing=self._share(
                [
                    None if steps is None else steps / length
                    for steps, length in zip(before, lengths, strict=True)
                ]
            ),
            agreeing_steps=sum(known) / len(known) if known else None,
            first_divergence=_counted([at for at in first if at is not None and at >= 0]),
            calls_in_order=self._calls(answers, in_order=True),
            calls_any_order=self._calls(answers, in_order=False),
        )

    def _metric(self, answers: Iterable[Prediction], primary: str) -> str:
        values = {answer.scores.get(primary) for answer in answers}
        yes_or_no = bool(values & {0.0, 1.0}) and values <= {None, 0.0, 1.0}
        if primary in BINARY_METRICS or (primary not in METRICS and yes_or_no):
            return primary
        return FUNCTION_NAME_AND_ARGS if self._tools else WORD_FOR_WORD

    def _calls(self, answers: Mapping[str, Prediction], *, in_order: bool) -> ShareOf | None:
        values: list[float | None] = []
        clusters: list[str] = []
        for conversation in self._conversations:
            given = [answers.get(step) for step in conversation.steps]
            made = [_calls_made(answer) for answer in given]
            if not any(conversation.calls) and not any(made):
                continue
            usable = all(answer is not None and answer.response is not None for answer in given)
            match = _in_order if in_order else _any_order
            values.append(float(match(conversation, made)) if usable else None)
            clusters.append(conversation.cluster)
        return self._share(values, clusters, binary=True) if values else None

    def _share(
        self, values: Sequence[float | None], clusters: Sequence[str] | None = None, binary: bool = False
    ) -> ShareOf:
        groups = clusters or [conversation.cluster for conversation in self._conversations]
        score = mean_score(values, groups, level=self._level, binary=binary)
        interval = Bounds(score.interval.low, score.interval.high) if score.interval else None
        return ShareOf(score.value, score.n, score.unscored, interval)


def _read(
    items: Sequence[EvalItem], found: Sequence[Sequence[int]], rules: Sequence[ArgumentConfig]
) -> list[_Conversation]:
    wanted = {place for places in found for place in places}
    ids: dict[int, str] = {}
    clusters: dict[int, str] = {}
    calls: dict[int, list[Call]] = {}
    schemas: dict[int, dict[str, Any]] = {}
    same: dict[bytes, dict[str, Any]] = {}  # conversations of one workload offer the same tools
    for place, item in enumerate(items if wanted else ()):
        if place in wanted:
            ids[place], clusters[place], calls[place] = item.id, item.cluster, reference_calls(item)
            own = schemas_of(item.request)
            schemas[place] = same.setdefault(msgspec.json.encode(own, order="deterministic"), own)
    conversations = []
    for places in found:
        offered = {name: schema for place in places for name, schema in schemas[place].items()}
        called = {call.name for place in places for call in calls[place]}
        conversations.append(
            _Conversation(
                clusters[places[-1]],
                [ids[place] for place in places],
                [calls[place] for place in places],
                with_rules(offered, rules, called),
            )
        )
    return conversations


def _agrees(answer: Prediction | None, metric: str) -> bool | None:
    value = answer.scores.get(metric) if answer else None
    return None if value is None else value >= 1.0


def _all(agreeing: Sequence[bool | None]) -> float | None:
    if False in agreeing:
        return 0.0
    return None if None in agreeing else 1.0


def _first_divergence(agreeing: Sequence[bool | None]) -> int | None:
    """Steps before the first that differs; -1 where none does, None where an unscored step comes before."""
    for place, agrees in enumerate(agreeing):
        if agrees is None:
            return None
        if not agrees:
            return place
    return -1


def _counted(places: Sequence[int]) -> list[int]:
    return [places.count(place) for place in range(max(places, default=-1) + 1)]


def _calls_made(answer: Prediction | None) -> list[Call]:
    """The calls as the predictions file has them."""
    functions = [{"function": call} for call in answer.tool_calls] if answer else []
    return calls_of({"tool_calls": functions})


def _in_order(conversation: _Conversation, made: Sequence[Sequence[Call]]) -> bool:
    """One step after the other; calls of one step are made at once and have no order."""
    if list(map(len, made)) == list(map(len, conversation.calls)):
        steps = zip(conversation.calls, made, strict=True)
        return all(same_calls(theirs, ours, conversation.schemas) for theirs, ours in steps)
    ours = [call for calls in made for call in calls]
    theirs = [call for calls in conversation.calls for call in calls]
    return len(ours) == len(theirs) and all(
        same_calls([right], [left], conversation.schemas) for left, right in zip(ours, theirs, strict=True)
    )


def _any_order(conversation: _Conversation, made: Sequence[Sequence[Call]]) -> bool:
    return same_calls(
        [call for calls in conversation.calls for call in calls],
        [call for calls in made for call in calls],
        conversation.schemas,
    )
