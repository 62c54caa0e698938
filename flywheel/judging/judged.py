"""A judge's scores put beside the others of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from flywheel.evaluation.aggregate import scores_of
from flywheel.judging.metrics import JudgeMetric
from flywheel.judging.questions import JudgeVerdict, by_item, with_verdicts
from flywheel.results import EvalItem, Evaluation, Prediction


def judged_predictions(
    items: Sequence[EvalItem],
    predictions: Mapping[str, Prediction],
    metrics: Sequence[JudgeMetric],
    verdicts: Sequence[JudgeVerdict],
) -> list[Prediction]:
    """The predictions there are, in the order of the items, with the judge's scores beside their own."""
    of = by_item(verdicts)
    return [
        with_verdicts(item, predictions[item.id], metrics, of) for item in items if item.id in predictions
    ]


def judged_evaluation(
    evaluation: Evaluation,
    items: Sequence[EvalItem],
    predictions: Sequence[Prediction],
    uri: str,
    primary: str,
    level: float,
) -> Evaluation:
    """`evaluation` with all scores of `predictions`, which lie at `uri`, beside those of a specialist set."""
    own = scores_of(items, {prediction.id: prediction for prediction in predictions}, level)
    scores = evaluation.scores | own
    return msgspec.structs.replace(
        evaluation,
        scores=scores,
        predictions=uri,
        primary=primary if primary in own else evaluation.primary,
    )
