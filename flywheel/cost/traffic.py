"""How many calls a month there are, from the times in the log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from flywheel.evaluation.statistics import t_quantile
from flywheel.findings.analysis import Bounds

DAY = 86_400.0
DAYS_OF_A_MONTH = 365.25 / 12
SHORTEST_SPAN = 3600.0
"""Seconds of log below which nothing is said of a month."""
TRIMMED = 0.005
"""Share of the times at either end that is left out: one clock that is wrong must not stretch the log by years."""


class Traffic(msgspec.Struct, frozen=True):
    """Calls a month; `interval` by how much days differ, None where the log has fewer than two whole ones."""

    per_month: float
    days: float
    interval: Bounds | None = None


def traffic_of(times: npt.NDArray[np.float64], scale: float = 1.0, level: float = 0.95) -> Traffic | None:
    """The traffic that the log shows.

    Args:
        times: Of logged calls, in seconds since 1970, in any order; NaN where unknown.
        scale: Calls that each of them stands for, where only a share of the log was read.

    Returns: None where the times do not span an hour.
    """
    known = np.sort(times[np.isfinite(times)])
    scale *= times.size / max(1, known.size)  # calls without a time are calls
    if known.size >= 2 / TRIMMED:
        cut = int(known.size * TRIMMED)
        known = known[cut : known.size - cut]
    if known.size < 2 or known[-1] - known[0] < SHORTEST_SPAN:
        return None
    # n calls have n - 1 gaps between them.
    span = float(known[-1] - known[0]) * known.size / (known.size - 1)
    per_month = scale * known.size / span * DAY * DAYS_OF_A_MONTH
    whole_days = int(span // DAY)
    if whole_days < 2:
        return Traffic(per_month, span / DAY)
    counts = np.bincount(((known - known[0]) // DAY).astype(np.int64), minlength=whole_days)[:whole_days]
    half = t_quantile(level, whole_days - 1) * float(counts.std(ddof=1)) / math.sqrt(whole_days)
    half *= scale * DAYS_OF_A_MONTH
    return Traffic(per_month, span / DAY, Bounds(max(0.0, per_month - half), per_month + half))


def calls_for_each_read(funnel: Mapping[str, Any], usable: int, traffic_share: float, newest: bool) -> float:
    """Calls that each usable record stands for.

    Records that were refused are calls as well. Where only a sample was read, so are those over the limit, unless the
    newest were read: then the time that these span tells the rate.
    """
    if not usable:
        return 1.0
    read = int(funnel.get("read", usable))
    calls = read + (0 if newest else int(funnel.get("over_limit", 0)))
    return max(1.0, calls / usable) / traffic_share
