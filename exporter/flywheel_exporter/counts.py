"""How many calls became log lines, and what became of the others."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields, replace


@dataclass
class Counts:
    """Calls since the exporter was made. `seen` is the sum of all others, `waiting` among them.

    Attributes:
        seen: Chat completions that came to an end, well or not.
        written: Lines that the sink confirmed.
        waiting: Calls in the queue or being written.
        dropped_queue_full: Calls that found no room in the queue.
        dropped_sink_down: Lines given up because the sink stayed unreachable, or the process ended.
        refused_by_sink: Lines that the sink refused for what they hold.
        withheld: Calls that the redaction hook withheld by returning None.
        failed: Calls that could not be made into a line: a body that is no JSON, a redaction hook that raised.
        too_large: Calls that stayed over the size limit after every string in them was cut.
        cut: Lines of those written or not in which strings were cut; not part of the sum.
    """

    seen: int = 0
    written: int = 0
    waiting: int = 0
    dropped_queue_full: int = 0
    dropped_sink_down: int = 0
    refused_by_sink: int = 0
    withheld: int = 0
    failed: int = 0
    too_large: int = 0
    cut: int = 0


class Counter:
    """Counts under a lock, since calls end in many threads."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._lock = threading.Lock()

    def add(self, **amounts: int) -> None:
        """Add to the counts that are named."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self._counts, name, getattr(self._counts, name) + amount)

    def snapshot(self) -> Counts:
        """The counts at this moment, with `waiting` as what the others leave of `seen`."""
        with self._lock:
            counts = replace(self._counts)
        settled = [getattr(counts, field.name) for field in fields(counts) if field.name not in _NO_END]
        counts.waiting = counts.seen - sum(settled)
        return counts

    def forget(self) -> None:
        """Start over; for the child of a fork, whose parent counts what was seen before."""
        self._lock = threading.Lock()
        self._counts = Counts()


_NO_END = ("seen", "waiting", "cut")
