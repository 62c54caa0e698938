"""History in a file, from one store to another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from blocks.history.history_file import Imported, export_history, import_history
from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.ports import RunStore
from flywheel.errors import ConfigError, DataError
from flywheel.progress import silent
from tests.contracts.run_store.cases import entry, judged, run


@pytest.fixture
def store(tmp_path: Path) -> SqliteRunStore:
    store = SqliteRunStore(tmp_path / "full" / "runs.sqlite")
    store.save_run(run("run-2", started_at="2025-09-02T10:00:00Z"))
    store.save_run(run("run-1"))
    store.save_judge_run(judged())
    store.record_resource(entry())
    return store


@pytest.fixture
def other(tmp_path: Path) -> SqliteRunStore:
    return SqliteRunStore(tmp_path / "empty" / "runs.sqlite")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def content_of(store: RunStore) -> object:
    runs = list(store.all_runs())
    return runs, [store.judge_runs(one.run_id) for one in runs], store.allocated()


def test_all_history_arrives_as_it_was(store: RunStore, other: RunStore, path: Path) -> None:
    assert export_history(store, path, silent) == {"run": 2, "judge run": 1, "resource": 1}
    assert import_history(other, path, silent) == Imported(added=2, judge_runs=1, resources=1)
    assert content_of(other) == content_of(store)


def test_importing_twice_adds_nothing(store: RunStore, other: RunStore, path: Path) -> None:
    export_history(store, path, silent)
    import_history(other, path, silent)
    again = import_history(other, path, silent)
    assert (again.added, again.replaced, again.already_there, again.different) == (0, 0, 2, [])
    assert content_of(other) == content_of(store)


def test_a_run_with_other_content_is_left_alone_and_named_unless_replacing_is_asked_for(
    store: RunStore, other: RunStore, path: Path
) -> None:
    export_history(store, path, silent)
    mine = run("run-1", message="changed here")
    other.save_run(mine)
    assert import_history(other, path, silent).different == ["run-1"]
    assert other.load_run("run-1") == mine
    assert import_history(other, path, silent, replace=True).replaced == 1
    assert other.load_run("run-1") == run("run-1")


def test_each_line_is_one_object_and_the_runs_come_oldest_first(store: RunStore, path: Path) -> None:
    export_history(store, path, silent)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["history", "resource", "run", "judge run", "run"]
    assert [line["content"]["run_id"] for line in lines if line["kind"] == "run"] == ["run-1", "run-2"]


def test_a_file_that_is_there_is_not_written_over(store: RunStore, path: Path) -> None:
    path.write_text("dear diary")
    with pytest.raises(ConfigError, match="exists already"):
        export_history(store, path, silent)
    assert path.read_text() == "dear diary"


def test_an_export_that_fails_leaves_no_file(store: RunStore, path: Path) -> None:
    def interrupted(stage: str, done: int, total: int | None, detail: str = "") -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_history(store, path, interrupted)
    assert [found.name for found in path.parent.iterdir()] == ["full"]


@pytest.mark.parametrize(
    "spoil", ["cut", "no head", "newer", "unknown", "not a run", "empty", "binary", "deep"]
)
def test_of_a_file_that_is_not_whole_nothing_is_imported(
    store: RunStore, other: RunStore, path: Path, spoil: str
) -> None:
    export_history(store, path, silent)
    lines = path.read_bytes().splitlines(keepends=True)
    spoilt = {
        "cut": b"".join(lines)[:-40],
        "no head": b"".join(lines[1:]),
        "newer": b'{"kind": "history", "version": 2}\n',
        "unknown": b"".join(lines) + b'{"kind": "song", "content": {}}\n',
        "not a run": b"".join(lines) + b'{"kind": "run", "content": {"run_id": 7}}\n',
        "empty": b"",
        "binary": b"\x1f\x8b\x08\xff",
        "deep": lines[0] + b"[" * 200_000 + b"\n",
    }
    path.write_bytes(spoilt[spoil])
    with pytest.raises(DataError, match=r"history\.jsonl"):
        import_history(other, path, silent)
    assert other.list_runs() == []
    assert other.allocated() == []


def test_a_file_that_is_not_there_is_a_clear_error(other: RunStore, path: Path) -> None:
    with pytest.raises(ConfigError, match="no file"):
        import_history(other, path, silent)
