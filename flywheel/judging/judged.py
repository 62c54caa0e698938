"""A judge's scores put beside the others of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from flywheel.errors import DataError
from flywheel.evaluation.aggregate import scores_of
from flywheel.evaluation.scoring import reference_calls
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


def with_stored_verdicts(
    items: Sequence[EvalItem], predictions: Sequence[Prediction], verdicts: Sequence[JudgeVerdict]
) -> list[Prediction]:
    """The same from verdicts alone, such as those of a file: a metric applies to every item of a kind it rated.

    Raises: DataError for a verdict on no item.
    """
    calls = {item.id: bool(reference_calls(item)) for item in items}
    if unknown := sorted({verdict.id for verdict in verdicts} - calls.keys()):
        raise DataError(
            f"{len(unknown)} verdicts are on no item, e.g. {unknown[0]!r}; use the verdicts of these predictions."
        )
    kinds = {(calls[verdict.id], verdict.metric) for verdict in verdicts}
    of = by_item(verdicts)
    found = []
    for prediction in predictions:
        scores = dict(prediction.scores)
        for kind, metric in kinds:
            if kind == calls[prediction.id]:
                verdict = of.get((prediction.id, metric))
                scores[metric] = verdict.score if verdict else None
        found.append(msgspec.structs.replace(prediction, scores=scores))
    return found


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
