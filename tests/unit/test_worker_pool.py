"""Work in processes of its own: every result comes, and a process that dies is no silence."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from flywheel.errors import RemoteError
from flywheel.worker_pool import WorkerPool, work_off


def square(number: int) -> int:
    return number * number


def die(number: int) -> int:
    os._exit(1)


def fail(number: int) -> int:
    raise ValueError(f"no {number}")


def leave_a_trace(path: Path) -> None:
    path.with_suffix(".begun").touch()
    time.sleep(400)
    path.touch()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_job_has_its_result_for_any_number_of_workers(workers: int) -> None:
    assert dict(work_off(square, range(7), workers)) == {n: n * n for n in range(7)}


def test_a_worker_that_dies_is_an_error_that_says_so() -> None:
    with pytest.raises(RemoteError, match="worker process died"):
        list(work_off(die, range(4), 2))


def test_an_error_in_a_worker_comes_out_as_it_was() -> None:
    with pytest.raises(ValueError, match="no 0"):
        list(work_off(fail, [0], 2))


def test_an_error_outside_ends_the_workers_at_once(tmp_path: Path) -> None:
    def stop_early() -> None:
        with WorkerPool(leave_a_trace, 1) as pool:
            pool.submit(tmp_path / "done")
            while not (tmp_path / "done.begun").exists():
                time.sleep(0.02)
            raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        stop_early()
    assert time.monotonic() - begun < 200
    assert not (tmp_path / "done").exists()
