"""What a run says of the limit of its throughput."""

from __future__ import annotations

import hashlib
import os
import threading
import time

from flywheel.cli.machine_use import MachineUse


def test_busy_cores_are_named_as_the_limit() -> None:
    # A machine that stands still meanwhile was not busy all the time.
    assert any(limit_while_computing().startswith("Limited by computing") for _ in range(5))


def limit_while_computing() -> str:
    use = MachineUse()
    end = time.monotonic() + 2.0

    def compute() -> None:
        block = bytes(1 << 20)
        while time.monotonic() < end:
            hashlib.sha256(block).digest()  # outside the interpreter's lock

    threads = [threading.Thread(target=compute) for _ in range(os.cpu_count() or 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return use.limit()


def test_nothing_is_said_of_a_run_too_short_to_measure() -> None:
    assert MachineUse().limit() == ""
