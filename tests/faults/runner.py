"""Starts runs that are killed, in processes of their own: imports once and forks for each attempt.

Reads one JSON document a line from stdin and answers each with one on stdout:

    {"config": {...}, "run_id": "r", "stop_at": "deploy alpha:begun", "signals": [9], "record": "file"} → {"pid": 17}
    {"wait": 17, "seconds": 60} → {"signal": 9, "code": null}

`stop_at` names a boundary of a step: the process sends itself the signals there. Boundaries are told by Prefect's own
hooks of tasks; `record` gets the name of each as it is passed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prefect import Task
from prefect.exceptions import TerminationSignal

import tasks
from flows.run_flywheel import run_flywheel
from flywheel.cli.prefect_server import deliver_what_is_queued
from flywheel.cli.running import run_until_stopped, told_to_stop
from flywheel.config import FlywheelConfig
from tests.fakes.gpu_platform import GpuPlatformBlock  # noqa: F401  # Prefect finds only blocks that were imported


def steps() -> list[Task[Any, Any]]:
    """Every task there is."""
    modules = [
        importlib.import_module(module.name) for module in pkgutil.walk_packages(tasks.__path__, "tasks.")
    ]
    found = {
        id(thing): thing for module in modules for thing in vars(module).values() if isinstance(thing, Task)
    }
    return list(found.values())


def watch_boundaries(
    every_task: Iterable[Task[Any, Any]], stop_at: str | None, signals: list[int], record: Path | None
) -> None:
    """Hook every task: a boundary is written down, and at the one named the process gets the signals, once."""
    left = list(signals)

    def passed(name: str) -> None:
        if record is not None:
            with record.open("a") as lines:
                lines.write(name + "\n")
        if name == stop_at:
            while left:
                os.kill(os.getpid(), left.pop(0))
                time.sleep(0.05)

    def begun(task: Any, task_run: Any, state: Any) -> None:
        passed(f"{task_run.name}:begun")

    def done(task: Any, task_run: Any, state: Any) -> None:
        passed(f"{task_run.name}:done")

    for task in every_task:
        task.on_running(begun)
        task.on_completion(done)


def attempt(order: dict[str, Any], every_task: Iterable[Task[Any, Any]]) -> int:
    """One run of the flow in this process; 0 completed, 130 stopped, 3 any other end."""
    record = Path(order["record"]) if order.get("record") else None
    watch_boundaries(every_task, order.get("stop_at"), order.get("signals", []), record)
    config = FlywheelConfig.model_validate(order["config"])
    if order.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"], resource.RLIM_INFINITY))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with told_to_stop():
            going: Any = run_flywheel(config, run_id=order["run_id"], return_state=True)
            state = run_until_stopped(going)
    except (KeyboardInterrupt, TerminationSignal):
        return 130
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 4
    if state.name != "Completed":
        print(f"{state.name}: {state.message}", file=sys.stderr, flush=True)
    return 0 if state.is_completed() and state.name == "Completed" else 3


def main() -> None:
    """Serve orders until stdin ends."""
    every_task = steps()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            print(json.dumps(_wait(order["wait"], order["seconds"])), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(2, 1)
            code = attempt(order, every_task)
            sys.stderr.flush()
            deliver_what_is_queued()
            os._exit(code)
        print(json.dumps({"pid": pid}), flush=True)


def _wait(pid: int, seconds: float) -> dict[str, int | None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            if os.WIFSIGNALED(status):
                return {"signal": os.WTERMSIG(status), "code": None}
            return {"signal": None, "code": os.WEXITSTATUS(status)}
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return {"signal": None, "code": None}


if __name__ == "__main__":
    main()
