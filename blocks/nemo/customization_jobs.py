"""What the Customizer says of a job, read leniently: most fields may be missing at any time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from flywheel.findings.loss_curve import merged
from flywheel.results import LossPoint

NOT_ENOUGH = "NotEnoughResources"
FINISHED = frozenset({"completed", "failed", "cancelled"})
WAITING = frozenset({"created", "pending"})


class JobStatus(msgspec.Struct, frozen=True):
    """One look at a job. Only `status` decides; `percentage` counts finished epochs and can be 100 on a failed job."""

    status: str
    percentage: float | None = None
    epochs: int = 0
    steps: int = 0
    steps_per_epoch: int | None = None
    elapsed_seconds: float | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    losses: list[LossPoint] = []
    logs: list[tuple[str, str]] = []
    updated_at: datetime | None = None

    @property
    def waits_for_gpus(self) -> bool:
        """Whether the newest word is that there are no GPUs: a queue, not an error, until its own bound is over."""
        return self.status not in FINISHED and bool(self.logs) and self.logs[-1][0] == NOT_ENOUGH

    @property
    def is_queued(self) -> bool:
        """Whether it has not begun to run."""
        return self.status in WAITING or self.waits_for_gpus

    @property
    def signature(self) -> tuple[object, ...]:
        """Changes with every progress."""
        return (self.status, self.percentage, self.epochs, self.steps, len(self.logs), self.train_loss)

    @property
    def reason(self) -> str | None:
        """Newest detail of the log, which is where a failure is explained; None where there is none."""
        details = [detail for _, detail in self.logs if detail]
        return details[-1] if details else None

    def described(self, epochs: int) -> str:
        """A few words for people."""
        if self.waits_for_gpus:
            return "waiting for GPUs"
        last = self.logs[-1][0] if self.logs else ""
        if self.is_queued:
            return f"{self.status}{', ' + last if last and last != self.status else ''}"
        parts = [
            f"epoch {min(self.epochs + 1, epochs)}/{epochs}" if self.steps or self.epochs else self.status
        ]
        parts += [f"loss {self.train_loss:.3f}"] if self.train_loss is not None else []
        parts += [f"validation {self.val_loss:.3f}"] if self.val_loss is not None else []
        parts += [f"{self.percentage:.0f} % by epochs"] if self.percentage else []
        return ", ".join(parts)


class Job(msgspec.Struct, frozen=True):
    """A job as it was created or listed."""

    id: str
    status: str
    output_model: str
    created_at: datetime | None = None


def read_status(document: Mapping[str, Any], status: str | None = None) -> JobStatus:
    """A job's status payload.

    Args:
        status: The job's own status where `document` is its `status_details`, in which it may be missing.
    """
    metrics = document.get("metrics")
    series = metrics.get("metrics") if isinstance(metrics, dict) else None
    logs = document.get("status_logs")
    return JobStatus(
        status=status or str(document.get("status") or "unknown"),
        percentage=_number(document.get("percentage_done")),
        epochs=int(_number(document.get("epochs_completed")) or 0),
        steps=int(_number(document.get("steps_completed")) or 0),
        steps_per_epoch=int(_number(document.get("steps_per_epoch")) or 0) or None,
        elapsed_seconds=_number(document.get("elapsed_time")),
        train_loss=_loss(document, series, "train_loss"),
        val_loss=_loss(document, series, "val_loss"),
        losses=merged(_curve(series, "train_loss"), _curve(series, "val_loss")),
        logs=[
            (str(entry.get("message") or ""), str(entry.get("detail") or ""))
            for entry in (logs if isinstance(logs, list) else [])
            if isinstance(entry, dict)
        ],
        updated_at=read_time(document.get("updated_at")),
    )


def read_job(document: Mapping[str, Any]) -> Job:
    """A job entity. Its name does not come back: jobs are known by id and tags."""
    return Job(
        id=str(document.get("id") or ""),
        status=str(document.get("status") or "unknown"),
        output_model=str(document.get("output_model") or ""),
        created_at=read_time(document.get("created_at")),
    )


def read_time(value: Any) -> datetime | None:
    """An ISO 8601 time; one without a zone is UTC, as the services mean it."""
    if not isinstance(value, str):
        return None
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _loss(document: Mapping[str, Any], series: Any, name: str) -> float | None:
    """The best checkpoint's loss, else the newest of the series."""
    value = _number(document.get(name))
    points = series.get(name) if isinstance(series, dict) else None
    if value is None and isinstance(points, list) and points and isinstance(points[-1], dict):
        value = _number(points[-1].get("value"))
    return value


def _curve(series: Any, name: str) -> dict[int, float]:
    """A series of the metrics by step."""
    points = series.get(name) if isinstance(series, dict) else None
    return {
        point["step"]: value
        for point in (points if isinstance(points, list) else [])
        if isinstance(point, dict)
        and isinstance(point.get("step"), int)
        and (value := _number(point.get("value"))) is not None
    }


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
