"""What is alive on this machine, for tests of what a command leaves behind."""

from __future__ import annotations

import time
from pathlib import Path


def left_with(variable: str, value: str, seconds: float = 60) -> dict[int, str]:
    """As `living_with`, once there is none, else after so long: what was told to end takes its moment to do so."""
    deadline = time.monotonic() + seconds
    while (found := living_with(variable, value)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def living_with(variable: str, value: str) -> dict[int, str]:
    """Processes that have this in their environment, and so do their children: process id → command line."""
    mark = f"{variable}={value}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended meanwhile, or is not ours to look at
            continue
    return found
