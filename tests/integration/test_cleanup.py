"""Cleaning up after dead runs on this machine: what is theirs goes, what is somebody else's stays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blocks.connections import open_dataset_store
from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.local_platform.atomic_json import write_json
from blocks.local_platform.processes import ProcessRef, spawn_python
from blocks.ports import DatasetRef, LedgerEntry
from flywheel.cli.main import main
from flywheel.config import ConnectionsConfig
from flywheel.results import RunResult, RunStatus
from tasks.cleaning.cleanup import clean_up
from tasks.cleaning.freed import Freed
from tasks.run_owner import OWNER, this_computer, this_machine

LONG_AGO = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
AGE = timedelta(minutes=10)


class Place:
    """A home with history, deployments that are real processes, and owners dead or alive."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.connections = ConnectionsConfig(home=str(home))
        self.runs = SqliteRunStore(home / "runs.sqlite")
        self.processes: list[ProcessRef] = []

    def run(self, run_id: str, status: RunStatus = "running", datasets: dict[str, str] | None = None) -> None:
        self.runs.save_run(RunResult(run_id, "w", "c", status, LONG_AGO, datasets=datasets or {}))

    async def dataset(self, kind: str, key: dict[str, Any]) -> DatasetRef:
        store = await open_dataset_store(self.connections)
        with store.create(kind, key) as staging:
            (staging.path / "rows.jsonl").write_text(f"{kind} {key}")
        return staging.ref

    async def serve(self) -> None:
        (await open_dataset_store(self.connections)).serve(self.runs.identity())

    def owner(
        self, run_id: str, process: ProcessRef, machine: str | None = None, computer: str = "another"
    ) -> None:
        details = {"machine": machine or this_machine(), "pid": process.pid, "started": process.started}
        details["computer"] = computer
        self.runs.record_resource(LedgerEntry(run_id, OWNER, run_id, "local", LONG_AGO, details))

    def deployment(self, run_id: str, name: str, *, noted: bool = True, at: str = LONG_AGO) -> ProcessRef:
        folder = self.home / "deployments" / name
        folder.mkdir(parents=True)
        process = spawn_python(
            "timeit", ["-n", "1", "-r", "1", "import time; time.sleep(60)"], folder / "log.txt"
        )
        write_json(folder / "process.json", process)
        self.processes.append(process)
        if noted:
            self.runs.record_resource(LedgerEntry(run_id, "deployment", name, "local", at))
        return process

    async def clean(self, **how: object) -> dict[str, str]:
        found: list[Freed] = await clean_up(self.connections, **{"older_than": AGE, **how})  # type: ignore[arg-type]
        return {f"{thing.kind} {thing.name}": thing.done for thing in found}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "home")
    yield place
    import os
    import signal

    for process in place.processes:
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            while process.is_alive():
                pass


@pytest.fixture
def dead() -> ProcessRef:
    process = subprocess.Popen([sys.executable, "-c", ""])
    ref = ProcessRef.of(process.pid)
    process.wait()
    assert ref is not None
    return ref


async def test_what_a_dead_run_left_is_freed_and_its_run_is_no_longer_running(
    place: Place, dead: ProcessRef
) -> None:
    place.run("aaaa")
    place.owner("aaaa", dead)
    server = place.deployment("aaaa", "fw-aaaa-small-1")

    assert await place.clean() == {"deployment fw-aaaa-small-1": "freed", "run aaaa": "marked failed"}
    assert not server.is_alive()
    assert place.runs.allocated() == []
    assert place.runs.load_run("aaaa").status == "failed"
    assert "--resume aaaa" in place.runs.load_run("aaaa").message
    assert await place.clean() == {}


async def test_nothing_of_a_living_run_is_touched(place: Place) -> None:
    place.run("aaaa")
    place.owner("aaaa", ProcessRef.current())
    noted = place.deployment("aaaa", "fw-aaaa-small-1")
    by_name = place.deployment("aaaa", "fw-aaaa-other-1", noted=False)

    assert await place.clean(older_than=timedelta(0)) == {}
    assert noted.is_alive()
    assert by_name.is_alive()
    assert place.runs.load_run("aaaa").status == "running"


async def test_what_no_ledger_has_is_found_by_the_name_of_a_run_that_is_over(place: Place) -> None:
    place.run("aaaa", "failed")
    lost = place.deployment("aaaa", "fw-aaaa-small-1", noted=False)
    stranger = place.deployment("bbbb", "fw-bbbb-small-1", noted=False)  # of a history that is not ours
    other = place.deployment("", "somebody-elses", noted=False)

    assert await place.clean() == {"deployment fw-aaaa-small-1": "freed"}
    assert not lost.is_alive()
    assert stranger.is_alive()
    assert other.is_alive()


async def test_a_run_of_another_machine_is_left_alone_unless_it_is_named(
    place: Place, dead: ProcessRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run("aaaa")
    place.owner("aaaa", dead, machine="elsewhere")
    server = place.deployment("aaaa", "fw-aaaa-small-1")

    assert await place.clean() == {"deployment fw-aaaa-small-1": "left alone"}
    assert server.is_alive()
    assert await place.clean(run_ids=["aaaa"]) == {
        "deployment fw-aaaa-small-1": "freed",
        "run aaaa": "marked failed",
    }


async def test_a_run_of_an_earlier_boot_of_this_computer_is_dead_whatever_its_process_id_is_now(
    place: Place,
) -> None:
    """No flow run needs to be asked, which a server that went down with the computer still takes for running."""
    place.run("aaaa")
    place.owner("aaaa", ProcessRef.current(), machine="this, booted before", computer=this_computer())
    # Some containers have no id of their own: nobody can tell there.
    assert await place.clean() == ({"run aaaa": "marked failed"} if this_computer() else {})


async def test_what_is_young_is_left_alone(place: Place) -> None:
    place.run("aaaa", "failed")
    server = place.deployment("aaaa", "fw-aaaa-small-1", at=datetime.now(UTC).isoformat())

    assert await place.clean() == {"deployment fw-aaaa-small-1": "left alone"}
    assert server.is_alive()


async def test_a_dry_run_only_tells(place: Place, dead: ProcessRef) -> None:
    place.run("aaaa")
    place.owner("aaaa", dead)
    server = place.deployment("aaaa", "fw-aaaa-small-1")
    before = place.runs.allocated()

    assert await place.clean(dry_run=True) == {
        "deployment fw-aaaa-small-1": "would be freed",
        "run aaaa": "would be marked failed",
    }
    assert server.is_alive()
    assert place.runs.allocated() == before
    assert place.runs.load_run("aaaa").status == "running"


@pytest.mark.parametrize("where", ["embedded", "file"])
async def test_datasets_that_nothing_refers_to_go_and_what_a_run_needs_stays(
    place: Place, where: str, tmp_path: Path
) -> None:
    if where == "file":
        place.connections = place.connections.model_copy(update={"dataset_store": f"file://{tmp_path}/far"})
    parent = await place.dataset("extracted", {"run": "aaaa"})
    named = await place.dataset("datasets", {"parents": [parent.name]})
    lost = await place.dataset("datasets", {"parents": [parent.name], "seed": 2})
    place.run("aaaa", "completed", datasets={"datasets": named.uri})
    await place.serve()

    assert await place.clean() == {}  # nothing is older than thirty days
    now = {"datasets_older_than": timedelta(0)}
    assert await place.clean(dry_run=True, **now) == {f"dataset {lost.name}": "would be removed"}
    assert await place.clean(run_ids=["aaaa"], **now) == {}
    assert await place.clean(**now) == {f"dataset {lost.name}": "removed"}
    store = await open_dataset_store(place.connections)
    assert [dataset.name for dataset in store.published()] == sorted([parent.name, named.name])
    assert place.runs.remove_run("aaaa")
    assert await place.clean(**now) == {f"dataset {name}": "removed" for name in (named.name, parent.name)}


async def test_datasets_of_a_store_that_another_history_uses_are_left_alone(place: Place) -> None:
    """A cleanup that was told the wrong history would find every dataset unreferenced."""
    await place.dataset("datasets", {"seed": 1})
    now = {"datasets_older_than": timedelta(0)}
    assert await place.clean(**now) == {"datasets 1 of 1": "left alone"}
    (await open_dataset_store(place.connections)).serve("0123456789abcdef")
    assert await place.clean(**now) == {"datasets 1 of 1": "left alone"}
    await place.serve()
    assert await place.clean(**now) == {"datasets 1 of 1": "left alone"}


async def test_a_dataset_that_cannot_be_read_keeps_all_of_them_and_the_rest_is_cleaned(place: Place) -> None:
    """Nobody knows what it was made from."""
    await place.dataset("datasets", {"seed": 1})
    unknown = await place.dataset("datasets", {"seed": 2})
    await place.serve()
    (Path(unknown.uri) / "manifest.json").write_text("{")
    place.run("aaaa", "failed")
    place.deployment("aaaa", "fw-aaaa-small-1")
    assert await place.clean(datasets_older_than=timedelta(0)) == {
        "deployment fw-aaaa-small-1": "freed",
        "dataset store embedded": "not looked through",
    }


async def test_what_cannot_be_freed_is_told_and_stays_in_the_ledger_and_holds_up_nothing(
    place: Place,
) -> None:
    place.run("aaaa", "failed")
    place.runs.record_resource(
        LedgerEntry("aaaa", "deployment", "fw-aaaa-far-1", "no-such-platform", LONG_AGO)
    )
    server = place.deployment("aaaa", "fw-aaaa-small-1")

    found = await place.clean()
    assert found == {"deployment fw-aaaa-far-1": "not freed", "deployment fw-aaaa-small-1": "freed"}
    assert not server.is_alive()
    assert [entry.name for entry in place.runs.allocated()] == ["fw-aaaa-far-1"]


async def test_a_platform_that_cannot_be_looked_through_is_told(place: Place) -> None:
    place.connections = place.connections.model_copy(update={"platform": "no-such-platform"})
    assert await place.clean() == {"platform no-such-platform": "not looked through"}


def test_the_command_says_what_it_did(
    place: Place, dead: ProcessRef, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run("aaaa")
    place.owner("aaaa", dead)
    place.deployment("aaaa", "fw-aaaa-small-1")

    assert main(["cleanup", "--home", str(place.home), "--json", "--dry-run"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["dry_run"] is True
    assert msgspec.convert(told["found"], list[Freed])[0].done == "would be freed"
    assert main(["cleanup", "--home", str(place.home)]) == 0
    assert "fw-aaaa-small-1" in capsys.readouterr().out
    assert main(["cleanup", "--home", str(place.home)]) == 0
    assert "Nothing was left behind" in capsys.readouterr().out


@pytest.mark.parametrize("age", ["soon", "-1m", "10", "1w", ""])
def test_an_age_that_is_none_is_a_usage_error(age: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cleanup", f"--older-than={age}"]) == 2
    assert "--older-than" in capsys.readouterr().err
