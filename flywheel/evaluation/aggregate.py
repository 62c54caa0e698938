"""From one prediction an item to the scores, intervals and usage of a whole evaluation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flywheel.config.metrics import ArgumentConfig
from flywheel.errors import DataError
from flywheel.evaluation.prediction_file import PredictionFile
from flywheel.evaluation.scoring import (
    BINARY_METRICS,
    METRICS,
    metrics_for,
    primary_metric,
    reference_calls,
    scored,
    uses_tools,
)
from flywheel.evaluation.statistics import mean_score
from flywheel.results import EvalItem, EvalType, Evaluation, Prediction, Score, TrafficMean, Usage

METRICS_SET = frozenset(METRICS)
Predictions = Mapping[str, Prediction] | Iterable[Prediction]

MISSING = "no prediction for this item"
"""Error of an item that a predictions file says nothing about."""


def aggregate(
    items: Sequence[EvalItem],
    predictions: Predictions,
    *,
    eval_type: EvalType,
    model: str,
    level: float = 0.95,
    overrides: Mapping[str, Any] | None = None,
    predictions_uri: str | None = None,
    started_at: str | None = None,
    finished_at: str | None = None,
    runtime_seconds: float | None = None,
    primary: str = "",
) -> Evaluation:
    """One evaluation from its scored predictions; an item without a prediction counts as unscored.

    `primary` names the score that stands for the whole, where it is there.
    """
    found = by_id(predictions)
    scores = scores_of(items, found, level)
    return Evaluation(
        eval_type=eval_type,
        model=model,
        primary=primary if primary in scores else primary_metric(items),
        scores=scores,
        items=len(items),
        usage=usage_of(found[item.id] for item in items if item.id in found),
        progress=100.0 * sum(item.id in found for item in items) / len(items) if items else 100.0,
        started_at=started_at,
        finished_at=finished_at,
        runtime_seconds=runtime_seconds,
        predictions=predictions_uri,
        overrides=dict(overrides or {}),
    )


def score_predictions(
    items: Sequence[EvalItem], predictions: Predictions, rules: Sequence[ArgumentConfig] = ()
) -> list[Prediction]:
    """Each item's prediction with its scores, in the order of the items; a missing one as an error of its own.

    Raises: DataError for a prediction that belongs to no item.
    """
    found = by_id(predictions)
    tools = uses_tools(items)
    unknown = sorted(found.keys() - {item.id for item in items})
    if unknown:
        raise DataError(
            f"{len(unknown)} predictions belong to no item, e.g. {unknown[0]!r}; score them against the items that "
            "they were made from."
        )
    return [
        scored(item, found.get(item.id) or Prediction(item.id, error=MISSING), tools, rules) for item in items
    ]


def scores_of(
    items: Sequence[EvalItem], predictions: Mapping[str, Prediction], level: float = 0.95
) -> dict[str, Score]:
    """Mean, n, interval and unscored count of each metric that applies to any of the items.

    Items of one cluster depend on each other, so intervals are cluster-robust. Every item counts once; where items
    stand for unequally many calls, the mean by traffic stands beside it.
    """
    tools = uses_tools(items)
    found: dict[str, _Values] = {}
    others: dict[bool, set[str]] = {True: set(), False: set()}
    without: list[tuple[bool, str, int]] = []
    for item in items:
        prediction = predictions.get(item.id)
        for metric in metrics_for(item, tools):
            score = prediction.scores.get(metric) if prediction else None
            found.setdefault(metric, _Values()).add(score, item.cluster, item.weight)
        calls = bool(reference_calls(item))
        if prediction is None:
            without.append((calls, item.cluster, item.weight))
            continue
        # Somebody else's verdicts, such as a platform's or a judge's, apply where they were given.
        for metric, value in prediction.scores.items():
            if metric not in METRICS_SET:
                others[calls].add(metric)
                found.setdefault(metric, _Values()).add(value, item.cluster, item.weight)
    for calls, cluster, weight in without:  # nobody could say; they apply to all items of a kind, or to none
        for metric in others[calls]:
            found[metric].add(None, cluster, weight)
    return {
        metric: found[metric].score(metric, level)
        for metric in (*METRICS, *sorted(found.keys() - METRICS_SET))
        if metric in found
    }


class _Values:
    """The items that one metric applies to."""

    def __init__(self) -> None:
        self._values: list[float | None] = []
        self._clusters: list[str] = []
        self._weights: list[int] = []

    def add(self, value: float | None, cluster: str, weight: int) -> None:
        self._values.append(value)
        self._clusters.append(cluster)
        self._weights.append(weight)

    def score(self, metric: str, level: float) -> Score:
        binary = _binary(metric, self._values)
        once = mean_score(self._values, self._clusters, level=level, binary=binary)
        counted = {w for w, value in zip(self._weights, self._values, strict=True) if value is not None}
        if len(counted) < 2:
            return once
        weighted = mean_score(self._values, self._clusters, self._weights, level, binary)
        if weighted.value is None or weighted.interval is None:
            return once
        return msgspec.structs.replace(once, by_traffic=TrafficMean(weighted.value, weighted.interval))


def _binary(metric: str, values: Sequence[float | None]) -> bool:
    if metric in METRICS_SET:
        return metric in BINARY_METRICS
    return all(value is None or value in (0.0, 1.0) for value in values)


def usage_of(predictions: Iterable[Prediction]) -> Usage:
    """Tokens and latency of the answers. Tokens are sums over those answers that state them."""
    answered = errors = reused = reused_in = reused_out = 0
    seen: dict[str, list[float]] = {name: [] for name in ("latency_ms", "ttft_ms", "tokens_in", "tokens_out")}
    reasons: Counter[str] = Counter()
    for prediction in predictions:
        errors += prediction.error is not None
        if prediction.response is None:
            continue
        answered += 1
        if prediction.reused:
            reused += 1
            reused_in += prediction.tokens_in or 0
            reused_out += prediction.tokens_out or 0
        if prediction.finish_reason:
            reasons[prediction.finish_reason] += 1
        for name, values in seen.items():
            value = getattr(prediction, name)
            if value is not None and math.isfinite(value):
                values.append(value)
    latencies, first_tokens, tokens_in, tokens_out = (sorted(values) for values in seen.values())
    return Usage(
        answered=answered,
        errors=errors,
        tokens_in=int(sum(tokens_in)),
        tokens_out=int(sum(tokens_out)),
        latency_ms_mean=math.fsum(latencies) / len(latencies) if latencies else None,
        latency_ms_p50=percentile(latencies, 0.5),
        latency_ms_p95=percentile(latencies, 0.95),
        ttft_ms_p50=percentile(first_tokens, 0.5),
        ttft_ms_p95=percentile(first_tokens, 0.95),
        tokens_in_p50=percentile(tokens_in, 0.5),
        tokens_in_p95=percentile(tokens_in, 0.95),
        tokens_out_p50=percentile(tokens_out, 0.5),
        tokens_out_p95=percentile(tokens_out, 0.95),
        finish_reasons=dict(reasons.most_common()),
        reused=reused,
        reused_tokens_in=reused_in,
        reused_tokens_out=reused_out,
    )


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """Value below which this share lies, between neighbours linearly; None where there are no values."""
    if not ascending:
        return None
    position = share * (len(ascending) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (position - below) * (ascending[above] - ascending[below])


def by_id(predictions: Predictions) -> Mapping[str, Prediction]:
    """Predictions by item id. Raises DataError where two have one id."""
    if isinstance(predictions, PredictionFile):
        return predictions.by_id()
    if isinstance(predictions, Mapping):
        return predictions
    found: dict[str, Prediction] = {}
    for prediction in predictions:
        if prediction.id in found:
            raise DataError(f"item {prediction.id!r} has two predictions; keep the one that counts.")
        found[prediction.id] = prediction
    return found
