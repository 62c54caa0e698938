"""What Prefect leaves to the garbage collector: the sockets of clients that its engine opens and never closes.

Their warnings come whenever the collector runs, be that in a test of other things. So tests that run flows in their
own process do not heed them, and clear up behind them, module by module. Everywhere else an unclosed socket is ours.
"""

from __future__ import annotations

import gc
import warnings
from pathlib import PurePath

import pytest

FOLDERS = {"browser", "deployments", "faults", "flows"}
UNCLOSED = r"unclosed (<socket|transport|event loop)"


def runs_flows(path: PurePath, tests: PurePath) -> bool:
    """Whether a test module lies in one of the folders whose tests run flows in their own process."""
    return path.relative_to(tests).parts[0] in FOLDERS


def not_heeded(test: pytest.Item) -> None:
    """What is unclosed in this test does not fail it."""
    test.add_marker(pytest.mark.filterwarnings(f"ignore:{UNCLOSED}:ResourceWarning"))


def clear_up() -> None:
    """Collect what flows left, before a test of other things is warned of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", UNCLOSED, ResourceWarning)
        gc.collect()
