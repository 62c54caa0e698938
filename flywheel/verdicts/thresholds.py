"""What a workload asks for beside "not worse than production": least scores, latency, cost, no wrong actions."""

from __future__ import annotations

import msgspec

from flywheel.config import ThresholdsConfig
from flywheel.verdicts.contenders import Contender
from flywheel.verdicts.estimates import mean_of


class Failing(msgspec.Struct, frozen=True):
    """Sentences on thresholds that were missed, and on those of which it is not known."""

    missed: list[str]
    unknown: list[str]


def failing_thresholds(contender: Contender, thresholds: ThresholdsConfig, level: float) -> Failing:
    """What keeps this contender from being surfaced, whatever the comparison with production says."""
    missed: list[str] = []
    unknown: list[str] = []
    for metric, least in thresholds.min_score.items():
        _least_score(contender, metric, least, thresholds.sensitive, level, missed, unknown)
    _at_most(
        "95th percentile of latency",
        contender.latency_ms_p95,
        thresholds.max_latency_ms_p95,
        "ms",
        missed,
        unknown,
    )
    _at_most(
        "cost of a request", contender.cost_per_request, thresholds.max_cost_per_request, "", missed, unknown
    )
    if thresholds.sensitive and contender.wrong_actions:
        missed.append(
            f"{contender.wrong_actions} of its answers call a tool that production did not call, and this workload is "
            "marked as sensitive."
        )
    return Failing(missed, unknown)


def _least_score(
    contender: Contender,
    metric: str,
    least: float,
    sensitive: bool,
    level: float,
    missed: list[str],
    unknown: list[str],
) -> None:
    scored = contender.scores.get(metric)
    mean = mean_of(scored) if scored else None
    if mean is None:
        unknown.append(f"It has no score {metric}, of which this workload asks at least {least:g}.")
        return
    low, high = mean.bounds((1 - level) / 2)
    if sensitive and low < least <= high:
        unknown.append(
            f"{metric} {mean.value:.3f} is not surely at least {least:g}: its interval begins at {low:.3f}, and this "
            "workload is marked as sensitive."
        )
    elif mean.value < least:
        missed.append(f"{metric} {mean.value:.3f} is below the {least:g} that this workload asks for.")


def _at_most(
    what: str, value: float | None, most: float | None, unit: str, missed: list[str], unknown: list[str]
) -> None:
    if most is None:
        return
    if value is None:
        unknown.append(
            f"Its {what} is not known; this workload allows at most {most:g} {unit}".rstrip() + "."
        )
    elif value > most:
        missed.append(
            f"Its {what} is {value:.4g} {unit}".rstrip() + f"; this workload allows at most {most:g}."
        )
