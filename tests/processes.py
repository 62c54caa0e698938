"""What is alive on this machine, for tests of what a command leaves behind."""

from __future__ import annotations

from pathlib import Path


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
