"""The SQLite store: the contract, and what is its own."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.history.sqlite_schema import MIGRATIONS, prepare
from flywheel.errors import DataError
from tests.contracts.run_store import RunStoreContract
from tests.contracts.run_store.cases import entry, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "runs.sqlite"


@pytest.fixture
def store(path: Path) -> SqliteRunStore:
    return SqliteRunStore(path)


@pytest.fixture
def opening(path: Path) -> str:
    return (
        "from pathlib import Path; from blocks.history.sqlite_run_store import SqliteRunStore\n"
        f"store = SqliteRunStore(Path({str(path)!r}))"
    )


class TestContract(RunStoreContract):
    pass


def query(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_the_tables_can_be_read_with_any_sqlite_tool(store: SqliteRunStore, path: Path) -> None:
    store.save_run(run())
    store.record_resource(entry())
    assert query(path, "SELECT run_id, status FROM flywheel_runs") == [("run-1", "partial")]
    assert query(path, "SELECT candidate, status FROM nims ORDER BY position") == [
        ("small-tuned", "completed"),
        ("broken", "failed"),
    ]
    assert query(path, "SELECT eval_type, score FROM evaluations ORDER BY position") == [
        ("base-eval", 0.5),
        ("customized-eval", 0.5),
    ]
    assert query(path, "SELECT job, status FROM customizations") == [("job-1", "completed")]
    assert query(path, "SELECT kind, name FROM resources") == [("deployment", "fw-1")]


def test_another_object_on_the_same_file_sees_what_was_saved(store: SqliteRunStore, path: Path) -> None:
    store.save_run(run())
    store.close()
    assert SqliteRunStore(path).load_run("run-1") == run()


def test_a_file_that_is_no_database_is_left_alone(store: SqliteRunStore, path: Path) -> None:
    path.parent.mkdir()
    path.write_text("dear diary, " * 1000)
    with pytest.raises(DataError, match="no SQLite database"):
        store.save_run(run())
    assert path.read_text().startswith("dear diary")


def test_a_database_of_another_program_is_left_alone(store: SqliteRunStore, path: Path) -> None:
    path.parent.mkdir()
    query(path, "CREATE TABLE songs (title TEXT)")
    with pytest.raises(DataError, match="another program"):
        store.list_runs()
    assert query(path, "SELECT name FROM sqlite_master") == [("songs",)]


def test_a_damaged_database_is_a_clear_error(store: SqliteRunStore, path: Path) -> None:
    store.save_run(run())
    data = bytearray(path.read_bytes())
    data[100:] = b"\xff" * (len(data) - 100)
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        store.load_run("run-1")


def test_a_read_only_database_is_a_clear_error(store: SqliteRunStore, path: Path) -> None:
    store.save_run(run())
    with path.open("r+b") as file:
        file.seek(18)  # "file format write version": SQLite treats a file from the future as read-only
        file.write(b"\x03")
    with pytest.raises(DataError, match="writable"):
        store.save_run(run("run-2"))


def test_a_place_that_cannot_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="another place"):
        SqliteRunStore(tmp_path / "file" / "runs.sqlite").list_runs()
    with pytest.raises(DataError, match="writable"):
        SqliteRunStore(tmp_path).list_runs()


def test_a_store_of_a_newer_flywheel_is_refused(store: SqliteRunStore, path: Path) -> None:
    store.save_run(run())
    query(path, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(DataError, match="newer flywheel"):
        store.list_runs()


def test_an_older_store_is_brought_up_to_date_with_its_runs(store: SqliteRunStore, path: Path) -> None:
    store.save_run(run())
    added = (
        "ALTER TABLE flywheel_runs ADD COLUMN note TEXT DEFAULT 'none'",
        "CREATE TABLE judges (name TEXT)",
    )
    connection = sqlite3.connect(path, isolation_level=None)
    for _ in range(2):
        prepare(connection, str(path), (*MIGRATIONS, added))
    assert connection.execute("SELECT run_id, note FROM flywheel_runs").fetchall() == [("run-1", "none")]
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    connection.close()


def test_a_migration_that_fails_changes_nothing(store: SqliteRunStore, path: Path) -> None:
    store.save_run(run())
    broken = ("CREATE TABLE judges (name TEXT)", "ALTER TABLE no_such_table ADD COLUMN note TEXT")
    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        prepare(connection, str(path), (*MIGRATIONS, broken))
    connection.close()
    assert query(path, "SELECT name FROM sqlite_master WHERE name = 'judges'") == []
    assert store.load_run("run-1") == run()


@pytest.mark.parametrize("document", ["{", '{"run_id": 7}'])
def test_a_document_that_cannot_be_read_is_a_clear_error(
    store: SqliteRunStore, path: Path, document: str
) -> None:
    store.save_run(run())
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE flywheel_runs SET document = ?", [document])
    connection.close()
    with pytest.raises(DataError, match="RunResult that cannot be read"):
        store.load_run("run-1")


def test_runs_saved_by_an_older_flywheel_with_fewer_fields_can_be_read(
    store: SqliteRunStore, path: Path
) -> None:
    store.save_run(run(candidates=[]))
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "UPDATE flywheel_runs SET document = json_remove(document, '$.message', '$.datasets')"
        )
    connection.close()
    assert store.load_run("run-1") == run(candidates=[], message="", datasets={})
