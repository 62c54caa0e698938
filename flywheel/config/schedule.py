"""Settings of when a run may use GPUs, and how much of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, GetJsonSchemaHandler, field_validator, model_validator

from flywheel.config.base import Settings

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class _Choices:
    """Time zones as the choices of a form. They are looked up when a schema is made, not on import."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core_schema), "enum": sorted(available_timezones())}


class WindowConfig(Settings):
    """The hours in which a run may start GPU work. Curation, which needs no GPU, runs at any time."""

    hours: str = Field(
        default="",
        pattern=r"^(([01]\d|2[0-3]):[0-5]\d-(([01]\d|2[0-3]):[0-5]\d|24:00))?$",
        description="From when to when, by the clock of the time zone: '22:00-06:00'. An end before the begin is on "
        "the next day. Empty: at any time.",
    )
    timezone: Annotated[str, _Choices()] = Field(
        default="UTC", description="Time zone of the hours, such as 'Europe/Berlin'; it knows summer time."
    )
    days: list[Day] = Field(
        default=list(DAYS), min_length=1, max_length=7, description="Days on which the window opens."
    )
    on_close: Literal["finish", "stop"] = Field(
        default="finish",
        description="What happens to work that runs when the window closes: 'finish' lets it end, 'stop' stops it; "
        "answers and training checkpoints that are there by then are kept.",
    )

    @field_validator("timezone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is no time zone; write one such as 'Europe/Berlin'") from error
        return name

    @model_validator(mode="after")
    def _has_a_length(self) -> WindowConfig:
        begin, _, end = self.hours.partition("-")
        if self.hours and begin == end:
            raise ValueError(
                f"the window {self.hours!r} has no length; '00:00-24:00' is a whole day, '' any time"
            )
        return self


class BudgetConfig(Settings):
    """What a run, and all runs of a calendar month (UTC) in one run store, may use.

    A candidate whose expected need does not fit any more is not started, and its result says why.
    """

    gpu_hours_per_run: float | None = Field(
        default=None, ge=0, description="Most GPU-hours of one run; none is no bound."
    )
    gpu_hours_per_month: float | None = Field(
        default=None, ge=0, description="Most GPU-hours of all runs of a calendar month; none is no bound."
    )
    money_per_run: float | None = Field(
        default=None,
        ge=0,
        description="Most money of one run, in analysis_config.currency, at analysis_config.prices; none is no bound.",
    )
    money_per_month: float | None = Field(
        default=None, ge=0, description="Most money of all runs of a calendar month; none is no bound."
    )
    expected_gpu_hours: float = Field(
        default=1.0,
        gt=0,
        description="GPU-hours for each GPU slot of a candidate that has not been run before. What was measured in the "
        "workload's last run goes before it.",
    )
    expected_money: float | None = Field(
        default=None,
        ge=0,
        description="Money for a candidate that has neither been run before nor has a price of GPU-hours. None: under "
        "a budget of money such a candidate does not start.",
    )

    @property
    def bounded(self) -> bool:
        """Whether there is a bound at all."""
        bounds = (self.gpu_hours_per_run, self.gpu_hours_per_month, self.money_per_run, self.money_per_month)
        return any(bound is not None for bound in bounds)
