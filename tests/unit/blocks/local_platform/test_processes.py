"""Worker processes known by id and start time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from blocks.local_platform.processes import ProcessRef, exclusive_sync, log_tail, spawn_python, stop
from flywheel.errors import RemoteError


def test_a_process_that_ended_is_gone_though_nobody_waited_for_it(tmp_path: Path) -> None:
    process = spawn_python("this", [], tmp_path / "log.txt")
    deadline = time.monotonic() + 120
    while process.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "Zen of Python" in (tmp_path / "log.txt").read_text()


def test_a_stranger_with_the_same_id_is_not_taken_for_our_process() -> None:
    assert ProcessRef.current().is_alive()
    assert not ProcessRef(pid=os.getpid(), started="another time").is_alive()


async def test_a_process_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(400)"
    )
    log = tmp_path / "log.txt"
    process = spawn_python("timeit", ["-n", "1", "-r", "1", stubborn], log)
    deadline = time.monotonic() + 120
    while "up" not in log_tail(log):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    await stop(process, grace=0.2)
    assert not process.is_alive()


async def test_stopping_what_is_gone_is_no_error() -> None:
    await stop(ProcessRef(pid=2**22 - 1, started="never"))


def test_a_lock_is_held_by_one_alone_and_freed_at_the_end(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        exclusive_sync(lock, patience=1),
        pytest.raises(RemoteError, match="has held"),
        exclusive_sync(lock, patience=0.1),
    ):
        pass
    with exclusive_sync(lock, patience=0.1):
        pass


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a\n\nb\nc\n")
    assert log_tail(tmp_path / "log", lines=2) == "b | c"
    assert log_tail(tmp_path / "missing") == ""
