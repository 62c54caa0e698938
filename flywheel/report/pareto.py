"""Which ways of answering are worth looking at: quality against what each costs, in money, tokens or time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from flywheel.evaluation.aggregate import percentile
from flywheel.evaluation.statistics import t_quantile
from flywheel.findings.analysis import Bounds, Ceiling
from flywheel.report.evidence import AnswersOf, Evidence
from flywheel.report.tables import primary_score
from flywheel.results import EVAL_TYPES, RunResult

Against = Literal["cost", "tokens", "latency"]
TITLES: dict[Against, str] = {
    "cost": "cost of 1,000 requests",
    "tokens": "tokens of one request, prompt and answer",
    "latency": "latency, median, ms",
}


class Place(NamedTuple):
    """One evaluation, or production: what it costs (`x`, less is better) and how good it is (`y`, more is better)."""

    label: str
    kind: str
    x: float
    y: float
    x_interval: Bounds | None
    y_interval: Bounds | None


def places(run: RunResult, evidence: Evidence, against: Against) -> list[Place]:
    """Every evaluation that has both, by candidate; production last, where both are known of it."""
    found = []
    for candidate in run.candidates:
        for evaluation in sorted(candidate.evaluations, key=lambda e: EVAL_TYPES.index(e.eval_type)):
            score = primary_score(evaluation)
            x, x_interval = _x(run, evidence.of(candidate.candidate, evaluation.eval_type), against)
            if against == "cost":
                x = _cost(run, candidate.candidate, evaluation.eval_type)
            if score is None or score.value is None or x is None:
                continue
            interval = Bounds(score.interval.low, score.interval.high) if score.interval else None
            label = f"{candidate.candidate} {evaluation.eval_type}"
            found.append(Place(label, evaluation.eval_type, x, score.value, x_interval, interval))
    production = _production(run, against)
    return [*found, production] if production and found else found


def front(found: Sequence[Place]) -> list[int]:
    """Positions of the places that no other candidate beats: cheaper and at least as good, or better for no more."""
    candidates = [(number, place) for number, place in enumerate(found) if place.kind != "production"]
    return [
        number
        for number, place in candidates
        if not any(
            (other.x <= place.x and other.y >= place.y)
            and (other.x < place.x or other.y > place.y or rival < number)
            for rival, other in candidates
            if rival != number
        )
    ]


def median_interval(ascending: Sequence[float], level: float = 0.95) -> Bounds | None:
    """An interval of the median from order statistics: no assumption on the distribution. None for fewer than 6.

    Source: David and Nagaraja 2003, Order Statistics, section 7.1.
    """
    n = len(ascending)
    if n < 6:
        return None
    from scipy.stats import binom

    below = int(binom.ppf((1 - level) / 2, n, 0.5))
    return Bounds(ascending[max(0, below - 1)], ascending[min(n - 1, n - below)])


def mean_interval(values: Sequence[float], level: float = 0.95) -> Bounds | None:
    """A t interval of the mean, not below 0; None for fewer than 2."""
    n = len(values)
    if n < 2:
        return None
    half = t_quantile(level, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = math.fsum(values) / n
    return Bounds(max(0.0, mean - half), mean + half)


def _x(run: RunResult, answers: AnswersOf | None, against: Against) -> tuple[float | None, Bounds | None]:
    if answers is None or against == "cost":
        return None, None
    if against == "latency":
        return percentile(answers.latencies, 0.5), median_interval(answers.latencies)
    if not answers.tokens:
        return None, None
    return math.fsum(answers.tokens) / len(answers.tokens), mean_interval(answers.tokens)


def _cost(run: RunResult, candidate: str, eval_type: str) -> float | None:
    for cost in run.analysis.costs if run.analysis else ():
        if (cost.candidate, cost.eval_type) == (candidate, eval_type) and cost.per_request is not None:
            return 1000 * cost.per_request
    return None


def measured_ceiling(run: RunResult) -> Ceiling | None:
    """Production's agreement with itself under the run's primary metric; None where it is only assumed."""
    metrics = {e.primary for c in run.candidates for e in c.evaluations}
    found = run.analysis.ceilings if run.analysis else ()
    return next((c for c in found if c.metric in metrics and c.source != "assumed"), None)


def _production(run: RunResult, against: Against) -> Place | None:
    """Production agrees with itself as far as its ceiling; where that is assumed it has no place in the picture."""
    if run.analysis is None or against != "cost":
        return None
    ceiling = measured_ceiling(run)
    known = (c.production_per_request for c in run.analysis.costs)
    cost = next((value for value in known if value is not None), None)
    if ceiling is None or cost is None:
        return None
    label = run.production_model or "production"
    return Place(f"{label} (production)", "production", 1000 * cost, ceiling.value, None, ceiling.interval)
