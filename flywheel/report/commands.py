"""Commands that a reader can copy: each names the stores that the run is in, where those are not the usual ones."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

STORES = ("run_store", "dataset_store")


def command(words: str, connections: Mapping[str, Any] | None) -> str:
    """`flywheel <words>` as it has to be typed to find what these `connections.*` settings keep.

    Args:
        words: The subcommand and its arguments, quoted for a shell where that is needed.
        connections: The run's own settings, or those under which it was found; None for the usual stores.
    """
    found = connections or {}
    home = str(found.get("home") or "")
    options = [
        f"--set {shlex.quote(f'connections.{name}={found[name]}')}"
        for name in STORES
        if found.get(name, "embedded") != "embedded"
    ]
    before = [f"FLYWHEEL_HOME={shlex.quote(home)}"] if home else []
    return " ".join([*before, "flywheel", words, *options])
