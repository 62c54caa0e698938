"""Settings of the person's decision."""

from __future__ import annotations

from pydantic import Field

from flywheel.config.base import Settings


class DecisionConfig(Settings):
    """Whether a run waits for a person. It never promotes or deploys anything, whatever is decided."""

    require_decision: bool = Field(
        default=False,
        description="Pause the finished run with a form for each surfaced candidate: approve, reject, checklist.",
    )
    wait_hours: float = Field(
        default=72,
        gt=0,
        le=24 * 90,
        description="Longest pause, in hours; then the run ends with the decision open, left to `flywheel decide`.",
    )
