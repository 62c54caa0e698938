"""How busy this machine was while a model trained and answered on it: what a throughput was limited by."""

from __future__ import annotations

import os

import psutil

BUSY = 0.75
"""Share of all cores' time from which computing itself is the limit."""


class MachineUse:
    """Counts the time of all cores, of everything that runs on this machine, from its making on."""

    def __init__(self) -> None:
        self._idle, self._all = _core_seconds()

    def limit(self) -> str:
        """One sentence that says what limited the work since then; empty where too little time has passed."""
        idle, everything = (
            now - then for now, then in zip(_core_seconds(), (self._idle, self._all), strict=True)
        )
        if everything < 1:
            return ""
        busy = 1 - idle / everything
        cores = f"the {os.cpu_count()} cores of this machine were {busy:.0%} busy"
        if busy >= BUSY:
            return f"Limited by computing: {cores}. More cores or a GPU would make it faster."
        return f"Not limited by computing alone: {cores} from start to end."


def _core_seconds() -> tuple[float, float]:
    """Idle seconds and all seconds of all cores since the machine started."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # `guest` is counted in `user` as well
    everything = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return idle, everything
