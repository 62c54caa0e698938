"""Work in processes of its own: every result comes, and a process that dies is no silence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flywheel.curation import work_beside
from flywheel.curation.rejected_rows import write_rejected
from flywheel.curation.validation import validate_stage
from flywheel.curation.work_beside import MODULES, WORTH_PREPARING, prepare_for
from flywheel.datasets.icl_items import write_items
from flywheel.datasets.rendering_worker import render
from flywheel.errors import RemoteError
from flywheel.worker_pool import WorkerPool, work_off

ROOT = Path(__file__).resolve().parents[2]


def square(number: int) -> int:
    return number * number


def die(number: int) -> int:
    os._exit(1)


def fail(number: int) -> int:
    raise ValueError(f"no {number}")


def has_imported(module: str) -> bool:
    return module in sys.modules


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


def test_workers_that_were_prepared_for_find_their_code_imported() -> None:
    here = """
from flywheel.worker_pool import WorkerPool, prepare_workers
from tests.unit.test_worker_pool import has_imported
if __name__ == "__main__":
    prepare_workers(["colorsys"])
    with WorkerPool(has_imported, 1) as pool:
        pool.submit("colorsys")
        pool.submit("chunk")
        print(sorted(pool.results()))
"""
    done = subprocess.run(
        [sys.executable, "-c", here], capture_output=True, text=True, timeout=120, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[(0, True), (1, False)]"


def test_ctrl_c_while_the_code_of_workers_is_imported_is_heard_by_us_alone(tmp_path: Path) -> None:
    (tmp_path / "slow_to_import.py").write_text(
        f"import pathlib, time\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\ntime.sleep(1)\n"
    )
    here = """
from flywheel.worker_pool import WorkerPool, prepare_workers
from tests.unit.test_worker_pool import has_imported
import time
if __name__ == "__main__":
    try:
        prepare_workers(["slow_to_import"])
        time.sleep(300)
    except KeyboardInterrupt:
        with WorkerPool(has_imported, 1) as pool:
            pool.submit("slow_to_import")
            print(list(pool.results()))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", here],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        start_new_session=True,
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert (output.strip(), errors) == ("[(0, True)]", "")


def test_what_curation_does_in_workers_is_what_they_are_prepared_for() -> None:
    work = (validate_stage._work, write_rejected, render, write_items)
    assert {one.__module__ for one in work} == set(MODULES)


@pytest.mark.parametrize(("files", "prepared"), [(1, False), (3, True)])
def test_workers_are_prepared_for_a_log_that_is_large_in_all_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, prepared: bool
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(work_beside, "prepare_workers", asked.append)
    monkeypatch.setattr(work_beside, "worker_count", lambda pieces: pieces)
    for number in range(files):
        (tmp_path / "day").mkdir(exist_ok=True)
        with (tmp_path / "day" / f"{number}.jsonl").open("wb") as file:
            file.truncate(WORTH_PREPARING // 2)
    prepare_for(tmp_path)
    assert bool(asked) is prepared
