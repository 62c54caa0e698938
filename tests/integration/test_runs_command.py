"""`flywheel runs` and `flywheel results` as a user types them, over SQLite and over MongoDB."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.mongo.connection import MongoConnection
from blocks.mongo.run_store import MongoRunStore
from flywheel.cli.main import main
from tests.contracts.run_store.cases import entry, run, scored

MONGODB = ("--set", "connections.run_store=mongodb")


class Shown(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Shown]


@pytest.fixture
def flywheel(
    tmp_path: Path,
    mongo: MongoConnection,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path))
    monkeypatch.setenv("MONGODB_URL", mongo.url)
    monkeypatch.setenv("MONGODB_DATABASE", mongo.database)

    def command(*words: str) -> Shown:
        code = main(words)
        return Shown(code, *capsys.readouterr())

    return command


def test_history_moves_from_the_laptop_to_mongodb_and_is_cut_back_there(
    flywheel: Command, tmp_path: Path, mongo: MongoConnection
) -> None:
    embedded = SqliteRunStore(tmp_path / "runs.sqlite")
    for day in range(1, 5):
        embedded.save_run(scored(f"run-{day}", day, 0.5 + day / 100))
    embedded.record_resource(entry(run_id="run-2"))
    file = str(tmp_path / "history.jsonl")

    exported = flywheel("runs", "export", file, "--json")
    assert json.loads(exported.stdout) == {"file": file, "run": 4, "judge run": 0, "resource": 1}, (
        exported.stderr
    )
    imported = flywheel("runs", *MONGODB, "import", file, "--json")
    assert json.loads(imported.stdout)["added"] == 4, imported.stderr

    listed = flywheel("runs", *MONGODB, "--workload", "support-router", "--json")
    assert [found["run_id"] for found in json.loads(listed.stdout)] == ["run-4", "run-3", "run-2", "run-1"]
    shown = flywheel("results", "run-3", *MONGODB, "--json")
    assert json.loads(shown.stdout)[0]["evaluations"][0]["scores"] == {"exact_match": 0.53}, shown.stderr

    pruned = flywheel("runs", "prune", "--keep", "1", "--older-than", "1", *MONGODB, "--json")
    assert json.loads(pruned.stdout) == {"removed": [], "dry_run": False}, pruned.stderr
    store = MongoRunStore(mongo)
    store.strike_resource("deployment", "fw-1")
    would = flywheel("runs", "prune", "--keep", "1", *MONGODB, "--dry-run", "--json")
    assert json.loads(would.stdout) == {"removed": ["run-1", "run-2"], "dry_run": True}
    assert len(store.list_runs()) == 4
    done = flywheel("runs", "prune", "--keep", "1", *MONGODB)
    assert "2 runs were removed" in done.stdout
    assert [found.run_id for found in store.list_runs()] == ["run-4", "run-3"]
    store.close()
    assert len(embedded.list_runs()) == 4


def test_what_is_wrong_is_said_in_a_sentence_with_the_right_exit_code(
    flywheel: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there.jsonl").write_text("x")
    monkeypatch.delenv("MONGODB_URL")
    for words, code, said in (
        (("runs", *MONGODB), 2, "MONGODB_URL"),
        (("runs", "--set", "connections.run_stor=x"), 2, "run_store"),
        (("runs", "prune"), 2, "--keep"),
        (("runs", "export", str(tmp_path / "there.jsonl")), 2, "exists already"),
        (("runs", "import", str(tmp_path / "there.jsonl")), 3, "there.jsonl:1"),
    ):
        shown = flywheel(*words)
        assert shown.returncode == code, shown.stderr
        assert said in shown.stderr
        assert shown.stdout == ""


def test_the_open_end_of_an_interval_is_null_in_json(flywheel: Command, tmp_path: Path) -> None:
    SqliteRunStore(tmp_path / "runs.sqlite").save_run(run())  # one of its scores is over a single item
    shown = flywheel("results", "run-1", "--json")
    intervals = json.loads(shown.stdout)[0]["evaluations"][0]["intervals"]
    assert intervals["one_item"] == {"low": None, "high": None, "level": 0.95}
    assert intervals["exact_match"]["low"] == 0.29


def test_an_empty_history_says_where_else_history_may_be(flywheel: Command) -> None:
    assert "connections.run_store=mongodb" in " ".join(flywheel("runs").stdout.split())
    assert "No runs of that workload" in flywheel("runs", "--workload", "nobody").stdout
    shown = flywheel("results")
    assert (shown.returncode, shown.stdout) == (3, "")
    assert "connections.run_store=mongodb" in shown.stderr
