"""The page about what is tried again says what the code does."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prefect import Task

import flywheel.errors
import tasks
from flywheel.errors import FlywheelError
from tasks.retry_conditions import is_transient

PAGE = (Path(__file__).parents[3] / "docs" / "resilience.md").read_text(encoding="utf-8")
NAMES = re.compile(r"`([A-Za-z_]+)`")


def table(heading: str) -> list[list[str]]:
    """Cells of the rows below the table's heading."""
    lines = PAGE.split(f"| {heading} |", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def every_task() -> dict[str, Task[Any, Any]]:
    modules = [
        importlib.import_module(found.name) for found in pkgutil.walk_packages(tasks.__path__, "tasks.")
    ]
    things = [thing for module in modules for thing in vars(module).values() if isinstance(thing, Task)]
    return {task.name: task for task in things}


def delays(task: Task[Any, Any]) -> list[float]:
    seconds = task.retry_delay_seconds
    listed = [float(one) for one in seconds] if isinstance(seconds, list) else [float(cast("float", seconds))]
    return (listed + listed[-1:] * task.retries)[: task.retries]


def test_every_class_of_error_is_on_the_page_once() -> None:
    ours = {
        name
        for name, thing in vars(flywheel.errors).items()
        if isinstance(thing, type) and issubclass(thing, FlywheelError) and thing is not FlywheelError
    }
    listed = [NAMES.findall(row[0])[0] for row in table("error | at the request | by the task | the run")]
    assert len(listed) == len(set(listed))
    assert set(listed) == ours | {"ConnectionError", "TimeoutError"}


@pytest.mark.parametrize(
    "row", table("error | at the request | by the task | the run"), ids=lambda row: row[0]
)
def test_what_the_page_says_is_tried_again_is_tried_again(row: list[str]) -> None:
    name = NAMES.findall(row[0])[0]
    error = (
        getattr(flywheel.errors, name, None)
        or {"ConnectionError": ConnectionError, "TimeoutError": TimeoutError}[name]
    )
    retried = is_transient(None, cast("Any", None), cast("Any", SimpleNamespace(data=error("why"))))
    assert retried == row[2].startswith("yes")


def test_the_tasks_that_are_tried_again_are_those_on_the_page_with_their_waits() -> None:
    said: dict[str, list[float]] = {}
    whatever: set[str] = set()
    for names, seconds in table("tasks | seconds"):
        for name in NAMES.findall(names):
            said[name] = [float(part) for part in seconds.split(",")]
            if "whatever the error" in names:
                whatever.add(name)
    found = every_task()
    assert said == {name: delays(task) for name, task in found.items() if task.retries}
    assert whatever == {
        name for name, task in found.items() if task.retries and task.retry_condition_fn is None
    }
    assert {found[name].retry_condition_fn for name in said.keys() - whatever} == {is_transient}
