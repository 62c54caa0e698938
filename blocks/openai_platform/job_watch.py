"""What is known of a fine-tuning job that is being watched, and the bounds of waiting for it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

WAITING = frozenset({"validating_files", "queued", "pending", "created", "paused"})


class Patience(NamedTuple):
    """Bounds of waiting, in seconds: in the queue, without any progress while running, for a cancel, between looks."""

    queued: float = 24 * 3600.0
    stalled: float = 3600.0
    cancelled: float = 20.0
    poll: float = 10.0


class Watch:
    """What is known of a running job, and since when nothing new came."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._seen: Any = None
        self._status: str | None = None
        self._moved = self._since = time.monotonic()
        self._message = ""
        self._latest = 0.0
        self._first_step = math.inf
        self.started: float | None = None
        self.done, self.total = 0, None
        self.metrics: dict[str, float] = {}
        self.train: dict[int, float] = {}
        self.validation: dict[int, float] = {}

    done: int
    total: int | None

    def take(self, event: Mapping[str, Any]) -> None:
        """An event; newer ones come later."""
        when = event.get("created_at")
        self._latest = max(self._latest, when if isinstance(when, int | float) else 0.0)
        told_a_step = isinstance(event.get("data"), Mapping) and "step" in event["data"]
        if told_a_step and isinstance(when, int | float):
            self._first_step = min(self._first_step, float(when))
        if isinstance(event.get("message"), str):
            self._message = event["message"][:200]
        data = event.get("data")
        if not isinstance(data, Mapping):
            return
        step, total = data.get("step"), data.get("total_steps")
        for key, curve in (("train_loss", self.train), ("valid_loss", self.validation)):
            if isinstance(step, int) and isinstance(data.get(key), int | float):
                curve[step] = float(data[key])
        if isinstance(step, int) and step >= self.done:
            self.done = step
            if isinstance(total, int):
                self.total = total
            self.metrics |= {
                key: float(value)
                for key, value in data.items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            }

    def note(self, job: Mapping[str, Any]) -> None:
        status = job.get("status")
        if status != self._status:
            self._status, self._since = str(status), time.monotonic()
            if status not in WAITING and self.started is None:
                self.started = time.monotonic()
        told = (job.get("updated_at"), job.get("trained_tokens"))  # where a provider has no events
        seen = (status, self.done, self._latest, self._message, told)
        if seen != self._seen:
            self._seen, self._moved = seen, time.monotonic()

    def too_late(self, status: str) -> str | None:
        """Why waiting makes no sense any more; time in the queue and time without progress have bounds of their own."""
        now = time.monotonic()
        if status in WAITING:
            if now - self._since > self._patience.queued:
                return f"was still {status.replace('_', ' ')} after {self._patience.queued:.0f} s"
        elif now - self._moved > self._patience.stalled:
            return f"made no progress for {self._patience.stalled:.0f} s at step {self.done} of {self.total or '?'}"
        return None

    def seconds_of_training(self) -> float:
        """Since it was seen to train, or since its first step where that was before: it may have been adopted."""
        seen = 0.0 if self.started is None else time.monotonic() - self.started
        return seen if self._first_step == math.inf else max(seen, time.time() - self._first_step)

    def words(self, status: str) -> str:
        losses = [
            f"{word} {self.metrics[key]:.3f}"
            for word, key in (("loss", "train_loss"), ("validation", "valid_loss"))
            if key in self.metrics
        ]
        return ", ".join(losses or [self._message or status.replace("_", " ")])
