"""Metrics of the user's own: functions that look at one answer."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from flywheel.config.metrics import CustomMetricConfig
from flywheel.errors import ConfigError, ScoringError
from flywheel.evaluation.scoring import METRICS
from flywheel.evaluation.user_functions import load_function
from flywheel.results import EvalItem, Prediction

Metric = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], Any]
"""`metric(request, reference, response)`: the logged request, production's chat completion, the candidate's."""


def check_names(custom: Sequence[CustomMetricConfig]) -> None:
    """Raises: ConfigError where a metric has the name of a built-in one."""
    if taken := sorted({metric.name for metric in custom} & set(METRICS)):
        raise ConfigError(
            f"A custom metric is named {taken[0]!r} as a built-in one is; give it another name."
        )


def load_metrics(custom: Sequence[CustomMetricConfig]) -> dict[str, Metric]:
    """The functions among the metrics, by name. Raises: ConfigError."""
    check_names(custom)
    return {metric.name: load_function(metric.function) for metric in custom if metric.function}


def score_of(metric: Metric, item: EvalItem, response: Mapping[str, Any]) -> float | None:
    """What a function says of an answer, None where it does not apply. It gets copies, so it may do what it likes.

    Raises: ScoringError where it fails, or gives something that is no score.
    """
    try:
        said = metric(*copy.deepcopy((item.request, item.response, dict(response))))
    except Exception as error:  # whatever the user's code raises, it is this item's outcome
        raise ScoringError(f"{type(error).__name__}: {error}") from error
    return None if said is None else checked(said)


def checked(value: Any) -> float:
    """`value` as a score. Raises: ScoringError where it is none."""
    if isinstance(value, bool | int | float) or type(value).__module__ == "numpy":
        number = float(value)
        if math.isfinite(number) and 0.0 <= number <= 1.0:
            return number
    raise ScoringError(f"{value!r} is no score; a score is a number from 0 to 1, or a truth value")


class Tally:
    """What metrics of the user's own could not score, and the first reason of each."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[int, str]] = {}

    def note(self, metric: str, item: str, why: str) -> None:
        """One answer that a metric failed on."""
        count, first = self._failures.get(metric, (0, f"{item}: {why}"))
        self._failures[metric] = (count + 1, first)

    def sentences(self) -> list[str]:
        """One for each metric that failed."""
        return [
            f"The metric {metric} failed on {count} answers, which are unscored under it; the first was {first}"
            for metric, (count, first) in self._failures.items()
        ]


def with_functions(
    item: EvalItem, prediction: Prediction, metrics: Mapping[str, Metric], tally: Tally
) -> Prediction:
    """`prediction` with the scores of the functions; None where one applies and failed, or there is no answer."""
    scores = dict(prediction.scores)
    for name, metric in metrics.items():
        if prediction.response is None:
            scores[name] = None
            continue
        try:
            score = score_of(metric, item, prediction.response)
        except ScoringError as error:
            tally.note(name, item.id, str(error))
            scores[name] = None
            continue
        if score is not None:
            scores[name] = score
    return msgspec.structs.replace(prediction, scores=scores)
