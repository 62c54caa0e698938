"""Answers of earlier evaluations that may stand for new ones: of the same model, to the same request, without chance.

What decides an answer is the request as it is sent: messages, tools and sampling settings, whatever item it was made
from and whatever the model is called. Only requests that ask for temperature 0 are looked at: any other answer is one
of many, and asking again is the point.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from flywheel.config import EvaluationConfig
from flywheel.errors import DataError
from flywheel.evaluation.replay import replay
from flywheel.results import EvalItem, Evaluation, Prediction


def key_of(item: EvalItem, settings: EvaluationConfig) -> str | None:
    """A digest of the request that is sent for an item; None where its answer is left to chance, or nothing is sent."""
    try:
        body = replay(item.request, "", settings).body
    except DataError:
        return None
    temperature = body.pop("temperature", None)
    if isinstance(temperature, bool) or temperature != 0:
        return None
    body["logprobs"] = settings.logprobs  # an answer without them lacks what is looked at
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()


def reusable(
    items: Sequence[EvalItem],
    answers: Mapping[str, Prediction],
    settings: EvaluationConfig,
    wanted: Collection[str],
) -> Iterator[tuple[str, Prediction]]:
    """Keys and answers of an earlier evaluation that are wanted.

    Args:
        items: What was asked then.
        answers: Usable answers by item id.
        settings: How it was asked then.
        wanted: Keys of what is to be asked now.
    """
    for item in items:
        answer = answers.get(item.id)
        key = key_of(item, settings) if answer is not None else None
        if answer is not None and key is not None and key in wanted:
            yield key, answer


def taken_over(item_id: str, answer: Prediction, run_id: str) -> Prediction:
    """An earlier answer as that of an item of this run: unscored, and without times, which are those of another day.

    `run_id` is the run that it is found in; where that one reused it itself, the run that asked stays named.
    """
    return Prediction(item_id, answer.response, attempts=0, reused=answer.reused or run_id)


def reuse_remarks(evaluation: Evaluation) -> list[str]:
    """What a reader has to know of an evaluation with reused answers."""
    usage = evaluation.usage
    if not usage.reused:
        return []
    others = usage.answered - usage.reused
    times = f"latencies are of the other {others}" if others else "so there are no latencies"
    return [
        f"{usage.reused} of {usage.answered} answers are reused: earlier runs asked the same model the same at "
        f"temperature 0; {times}."
    ]
