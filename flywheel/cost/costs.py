"""What one way of answering costs beside production, at the log's traffic.

A price that is not known makes what depends on it unknown; it is named among what is missing and never taken as 0.
Both sides are taken over the same items, each counted as often as production was asked it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from flywheel.config import PriceConfig
from flywheel.cost.prices import (
    Call,
    fine_tune_cost,
    gpu_time_cost,
    hosting_per_month,
    price_of,
    tokens_cost,
)
from flywheel.cost.traffic import DAYS_OF_A_MONTH, Traffic
from flywheel.evaluation.statistics import t_quantile, variance_of_mean
from flywheel.findings.analysis import Bounds, Costs
from flywheel.results import Customization


class Way(msgspec.Struct, frozen=True):
    """One way of answering the items.

    `calls` are the answered ones; `names` what a price may be listed under, nearest first, where a call's own model
    name is not it. `gpu_seconds` is how long answering all of them took, for models paid by GPU time.
    """

    candidate: str
    eval_type: str
    names: Sequence[str]
    calls: Sequence[Call]
    gpu_seconds: float | None = None
    customization: Customization | None = None


class Side(msgspec.Struct, frozen=True):
    """Costs of one side: of each call, and of a month whatever is asked; `missing` names what is not known."""

    by_id: dict[str, float]
    hosting: float
    missing: list[str]
    passed_over: int = 0  # calls without token counts, where others have them


def costs_of(
    way: Way,
    production: Sequence[Call],
    prices: Sequence[PriceConfig],
    traffic: Traffic | None,
    currency: str = "USD",
    level: float = 0.95,
) -> Costs:
    """The costs of `way`, with those of production over the same items."""
    answered = {call.id for call in way.calls}
    teacher = [call for call in production if call.id in answered]
    ours = side_of(way.calls, prices, way.names, way.eval_type, way.gpu_seconds)
    theirs = side_of(teacher, prices, (), "", None)
    missing = ours.missing + [f"{name} (production)" for name in theirs.missing]
    per_month = traffic.per_month if traffic else None
    if traffic is None:
        missing.append("the log's traffic: its times span less than an hour")
    per_request = _per_request(ours, way.calls, per_month)
    production_per_request = _per_request(theirs, teacher, per_month)
    fine_tune = None
    if way.customization is not None and way.eval_type == "customized-eval":
        price = price_of(prices, way.names, way.eval_type)
        fine_tune = fine_tune_cost(price, way.customization) if price else None
        if fine_tune is None:
            missing.append(f"price of fine-tuning {way.names[-1]}")
    savings = None
    if traffic is not None and not ours.missing and not theirs.missing:
        savings = _monthly_savings(way.calls, ours, theirs, traffic, level)
    for side, whose in ((ours, ""), (theirs, " (production)")):
        if side.passed_over:
            missing.append(f"token counts of {side.passed_over} answers{whose}; the others stand for them")
    return Costs(
        candidate=way.candidate,
        eval_type=way.eval_type,
        currency=currency,
        per_request=per_request,
        per_1k_tokens=_per_1k_tokens(per_request, way.calls),
        production_per_request=production_per_request,
        production_per_1k_tokens=_per_1k_tokens(production_per_request, teacher),
        test_time_compute=compute_per_request(way.calls),
        production_test_time_compute=compute_per_request(teacher),
        requests_per_month=per_month,
        monthly_savings=savings,
        fine_tune=fine_tune,
        break_even_days=_break_even(fine_tune, savings),
        missing=missing,
    )


def compute_per_request(calls: Sequence[Call]) -> float | None:
    """Mean over the calls of total tokens × latency in seconds; None where no call has both."""
    known = [
        (call.tokens * call.latency_ms / 1000, call.weight)
        for call in calls
        if call.tokens is not None and call.latency_ms is not None
    ]
    return _mean(known)


def side_of(
    calls: Sequence[Call],
    prices: Sequence[PriceConfig],
    names: Sequence[str],
    eval_type: str,
    gpu_seconds: float | None,
) -> Side:
    by_id: dict[str, float] = {}
    hosting: dict[str, float] = {}
    missing: dict[str, None] = {}
    if not calls:
        return Side({}, 0.0, ["answers"])
    found: dict[str, PriceConfig | None] = {}
    without_tokens = 0
    for call in calls:
        model = call.model or "an unnamed model"
        if model not in found:
            found[model] = price_of(prices, [*names, model], eval_type)
        price = found[model]
        if price is None or (price.input_per_1k is None and price.gpu_hour is None):
            missing[f"price of {names[-1] if names else model}"] = None
            continue
        cost = 0.0
        if price.input_per_1k is not None:
            of_tokens = tokens_cost(call, price)
            if of_tokens is None:
                without_tokens += 1
                continue
            cost += of_tokens
        if price.gpu_hour is not None:
            hosting[price.model] = hosting_per_month(price)
            if price.gpu_hours_per_month is None:
                if gpu_seconds is None:
                    missing[f"gpu_hours_per_month of {price.model}"] = None
                    continue
                cost += gpu_time_cost(price, gpu_seconds) / len(calls)
        by_id[call.id] = cost
    if without_tokens and not by_id:
        missing["token counts"] = None
    return Side(by_id, math.fsum(hosting.values()), list(missing), without_tokens if by_id else 0)


def _per_request(side: Side, calls: Sequence[Call], per_month: float | None) -> float | None:
    if side.missing or (side.hosting and not per_month):
        return None
    mean = _mean([(side.by_id[call.id], call.weight) for call in calls if call.id in side.by_id])
    return None if mean is None else mean + (side.hosting / per_month if per_month and side.hosting else 0.0)


def _per_1k_tokens(per_request: float | None, calls: Sequence[Call]) -> float | None:
    tokens = _mean([(call.tokens, call.weight) for call in calls if call.tokens is not None])
    return 1000 * per_request / tokens if per_request is not None and tokens else None


def _monthly_savings(
    calls: Sequence[Call], ours: Side, theirs: Side, traffic: Traffic, level: float
) -> Bounds | None:
    """Over the interval of the traffic and that of the saving per request: the least and the most of both."""
    both = [call for call in calls if call.id in ours.by_id and call.id in theirs.by_id]
    weights = [call.weight for call in both]
    if not both or not math.fsum(weights):
        return None
    saved = [theirs.by_id[call.id] - ours.by_id[call.id] for call in both]
    mean = math.fsum(s * w for s, w in zip(saved, weights, strict=True)) / math.fsum(weights)
    clusters = [call.cluster for call in both]
    half = 0.0
    if (count := len(set(clusters))) > 1:
        half = t_quantile(level, count - 1) * math.sqrt(variance_of_mean(saved, weights, clusters, mean))
    requests = traffic.interval or Bounds(traffic.per_month, traffic.per_month)
    corners = [
        number * each + theirs.hosting - ours.hosting
        for number in (requests.low, requests.high)
        for each in (mean - half, mean + half)
    ]
    return Bounds(min(corners), max(corners))


def _break_even(fine_tune: float | None, savings: Bounds | None) -> Bounds | None:
    """Days until the fine-tune is paid; None where that may never be."""
    if fine_tune is None or savings is None or savings.low <= 0:
        return None
    return Bounds(fine_tune / savings.high * DAYS_OF_A_MONTH, fine_tune / savings.low * DAYS_OF_A_MONTH)


def _mean(values_and_weights: Sequence[tuple[float, float]]) -> float | None:
    total = math.fsum(weight for _, weight in values_and_weights)
    if not total:
        return None
    return math.fsum(value * weight for value, weight in values_and_weights) / total
