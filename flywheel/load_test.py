"""What a load test found: a plan of arrivals, and how the answers to it came.

The load is open: requests leave when the plan says so, whether or not earlier ones were answered, as users do. A
closed loop waits for a slow endpoint and so hides how slow it is (Tene 2013, on coordinated omission); for the same
reason latency counts from when a request was due, not from when it could be sent.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import msgspec
import numpy as np

from flywheel.cost.traffic import DAY, DAYS_OF_A_MONTH, calls_for_each_read, traffic_of
from flywheel.errors import ConfigError
from flywheel.evaluation.aggregate import percentile
from flywheel.findings.analysis import Arrivals, LoadTest
from flywheel.results import RunResult

LATE_SECONDS = 0.25
"""A request sent this much after it was due says that our machine, not the endpoint, was the bottleneck."""


class Sample(msgspec.Struct, frozen=True):
    """One request: seconds by which it was sent late, milliseconds from when it was due to its end, or its error."""

    late_seconds: float
    latency_ms: float
    error: str | None = None


def poisson_arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Seconds from the start at which requests are due: exponential gaps, `rate` a second on average."""
    _check(rate, seconds)
    draw = random.Random(seed)
    due: list[float] = []
    now = draw.expovariate(rate)
    while now < seconds:
        due.append(now)
        now += draw.expovariate(rate)
    return due


def log_arrivals(timestamps: Sequence[float], rate: float, seconds: float, seed: int) -> list[float]:
    """Seconds from the start at which requests are due: the log's own gaps, bursts and lulls, scaled to `rate`.

    Args:
        timestamps: When the calls were logged, seconds since 1970, in any order. The gaps begin at a random one and
            start over at their end.
    Raises: ConfigError where there are fewer than two different times.
    """
    _check(rate, seconds)
    gaps = [later - earlier for earlier, later in pairwise(sorted(timestamps))]
    total = math.fsum(gaps)
    if total <= 0:
        raise ConfigError(
            "The log's own gaps cannot be replayed: its records are fewer than two, or all of one time. "
            "Use --arrivals poisson."
        )
    scale = len(gaps) / rate / total
    place = random.Random(seed).randrange(len(gaps))
    due: list[float] = []
    now = gaps[place] * scale
    # A long run of zero gaps is a burst, not an endless loop: at most one pass adds nothing.
    while now < seconds:
        due.append(now)
        place = (place + 1) % len(gaps)
        now += gaps[place] * scale
    return due


def average_rate(timestamps: Sequence[float]) -> float | None:
    """Calls a second over the log's span; None where it has none."""
    if len(timestamps) < 2:
        return None
    span = max(timestamps) - min(timestamps)
    return (len(timestamps) - 1) / span if span > 0 else None


def production_rate(timestamps: Sequence[float], run: RunResult) -> float | None:
    """Calls a second of production, reckoned as for the cost of a month: refused records are calls as well.

    So are those that a sample left out, and a few clocks that are wrong count for nothing. Of a log of less than an
    hour it is the average over its span. None where the log does not tell.

    Args:
        timestamps: When the run's records were logged, in seconds since 1970.
    """
    logs = run.config.get("logs", {})
    scale = calls_for_each_read(
        run.funnel, len(timestamps), logs.get("traffic_share", 1.0), newest=logs.get("sampling") == "newest"
    )
    traffic = traffic_of(np.asarray(timestamps, dtype=np.float64), scale)
    if traffic is not None:
        return traffic.per_month / (DAYS_OF_A_MONTH * DAY)
    average = average_rate(timestamps)
    return None if average is None else average * scale


def summed_up(
    samples: Sequence[Sample],
    *,
    candidate: str,
    endpoint: str,
    model: str,
    at: datetime,
    arrivals: Arrivals,
    rate: float,
    seconds: float,
    target_p95_ms: float | None = None,
    target_error_share: float | None = None,
) -> LoadTest:
    """The figures of a test; a target is met where p95 and the share of errors are at most what was asked."""
    latencies = sorted(sample.latency_ms for sample in samples if sample.error is None)
    reasons: dict[str, int] = {}
    for sample in samples:
        if sample.error is not None:
            reasons[sample.error] = reasons.get(sample.error, 0) + 1
    errors = sum(reasons.values())
    p95 = percentile(latencies, 0.95)
    checks = []
    if target_p95_ms is not None:
        checks.append(p95 is not None and p95 <= target_p95_ms)
    if target_error_share is not None:
        checks.append(bool(samples) and errors / len(samples) <= target_error_share)
    return LoadTest(
        candidate=candidate,
        endpoint=endpoint,
        model=model,
        at=at.isoformat(),
        arrivals=arrivals,
        rate=rate,
        seconds=seconds,
        sent=len(samples),
        answered=len(latencies),
        errors=errors,
        late=sum(sample.late_seconds > LATE_SECONDS for sample in samples),
        latency_ms_p50=percentile(latencies, 0.5),
        latency_ms_p95=p95,
        latency_ms_p99=percentile(latencies, 0.99),
        target_p95_ms=target_p95_ms,
        target_error_share=target_error_share,
        passed=all(checks) if checks else None,
        most_common_errors=dict(sorted(reasons.items(), key=lambda entry: -entry[1])[:5]),
    )


def _check(rate: float, seconds: float) -> None:
    if not (rate > 0 and math.isfinite(rate)):
        raise ConfigError(f"A rate of {rate} requests a second is none; give a number above 0.")
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ConfigError(f"A load test of {seconds} seconds is none; give a number above 0.")
