"""What a report shows of single answers: latencies, token counts, divergent answers; read from the stored files."""

from __future__ import annotations

from typing import Any

import msgspec

from flywheel.evaluation.divergent import DivergentAnswer, divergent_answers
from flywheel.results import EvalItem, EvalType, Prediction


class AnswersOf(msgspec.Struct, frozen=True):
    """The stored answers of one evaluation.

    `latencies` are milliseconds, ascending; `tokens` prompt and answer together, one count for each answer that
    states it. `files` are the two that `flywheel score` takes.
    """

    candidate: str
    eval_type: EvalType
    latencies: list[float]
    tokens: list[int]
    divergent: list[DivergentAnswer]
    items_file: str
    predictions_file: str


class Evidence(msgspec.Struct, frozen=True):
    """What lies in the dataset store for a run. `missing` says what should and does not."""

    answers: list[AnswersOf] = []
    items: dict[str, EvalItem] = {}
    certificate: dict[str, Any] | None = None
    missing: list[str] = []

    def of(self, candidate: str, eval_type: str) -> AnswersOf | None:
        """The answers of one evaluation, None where they are not there."""
        for answers in self.answers:
            if (answers.candidate, answers.eval_type) == (candidate, eval_type):
                return answers
        return None


def answers_of(
    candidate: str,
    eval_type: EvalType,
    items: dict[str, EvalItem],
    predictions: dict[str, Prediction],
    *,
    items_file: str,
    predictions_file: str,
) -> AnswersOf:
    """What the predictions of one evaluation have to show."""
    found = list(predictions.values())
    return AnswersOf(
        candidate=candidate,
        eval_type=eval_type,
        latencies=sorted(p.latency_ms for p in found if p.latency_ms is not None),
        tokens=[
            p.tokens_in + p.tokens_out for p in found if p.tokens_in is not None and p.tokens_out is not None
        ],
        divergent=divergent_answers(list(items.values()), predictions),
        items_file=items_file,
        predictions_file=predictions_file,
    )
