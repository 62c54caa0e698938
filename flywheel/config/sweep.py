"""Settings of the sweep over all workloads."""

from __future__ import annotations

from pydantic import Field

from flywheel.config.base import Fraction, Settings


class SweepConfig(Settings):
    """Which workloads of a log get a run, and how many at once."""

    min_fresh_records: int = Field(
        default=100,
        ge=1,
        description="Fewest records logged since a workload's last run with results; with fewer it is left out.",
    )
    fresh_days: float = Field(
        default=7,
        ge=0,
        le=3650,
        description="Days for which an evaluation counts as fresh; its workload is left out. 0: it never is.",
    )
    stale_from: Fraction | None = Field(
        default=None,
        description="Give a workload a run, fresh as its evaluation may be, whose evaluation set is stale: this share "
        "of the newest calls is of other kinds than those it was drawn from. The run draws a new set. None: not looked "
        "at, since it reads up to 1,000 records of every evaluated workload.",
    )
    at_once: int = Field(default=2, ge=1, le=100, description="Most runs that are under way at once.")
    most_runs: int = Field(
        default=50, ge=1, le=1000, description="Most runs that one sweep starts, the most promising first."
    )
    production_price_per_1k: float | None = Field(
        default=None,
        ge=0,
        description="What 1,000 tokens of production cost, for the order of workloads that have not been run yet. "
        "None: what earlier runs found.",
    )
    wait_hours: float = Field(
        default=20,
        gt=0,
        le=24 * 14,
        description="Longest time, in hours, that a sweep waits for its runs; what has not begun by then is skipped.",
    )
    poll_seconds: float = Field(
        default=15, gt=0, le=600, description="Seconds between two looks at the runs under way."
    )
