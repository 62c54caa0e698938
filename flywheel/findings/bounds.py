"""An interval, as every part of what is concluded from a run has it."""

from __future__ import annotations

import msgspec


class Bounds(msgspec.Struct, frozen=True):
    """A two-sided confidence interval, or a range of what is expected."""

    low: float
    high: float
