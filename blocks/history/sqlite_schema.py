"""Tables of the run store's SQLite file, and how an older file becomes a current one.

A migration is appended to `MIGRATIONS` and never edited afterwards: the position of the last one is the version of
the file. Each table keeps what people search by in columns, and the whole structure as JSON in `document`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from flywheel.errors import DataError, TransientRemoteError

APPLICATION_ID = 0x466C7957  # "FlyW", in the header of the file: a database of something else is left alone
BUSY_SECONDS = 30.0

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE flywheel_runs (
            run_id TEXT PRIMARY KEY, workload_id TEXT NOT NULL, client_id TEXT NOT NULL, status TEXT NOT NULL,
            started_at TEXT NOT NULL, finished_at TEXT, document TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX runs_by_workload ON flywheel_runs (workload_id, client_id, started_at)",
        "CREATE INDEX runs_by_time ON flywheel_runs (started_at)",
        """CREATE TABLE nims (
            run_id TEXT NOT NULL REFERENCES flywheel_runs ON DELETE CASCADE, candidate TEXT NOT NULL,
            position INTEGER NOT NULL, model_name TEXT NOT NULL, status TEXT NOT NULL, document TEXT NOT NULL,
            PRIMARY KEY (run_id, candidate)
        ) STRICT""",
        """CREATE TABLE evaluations (
            run_id TEXT NOT NULL, candidate TEXT NOT NULL, eval_type TEXT NOT NULL, position INTEGER NOT NULL,
            model TEXT NOT NULL, score REAL, error TEXT, document TEXT NOT NULL,
            PRIMARY KEY (run_id, candidate, eval_type),
            FOREIGN KEY (run_id, candidate) REFERENCES nims ON DELETE CASCADE
        ) STRICT""",
        """CREATE TABLE customizations (
            run_id TEXT NOT NULL, candidate TEXT NOT NULL, job TEXT NOT NULL, status TEXT NOT NULL,
            document TEXT NOT NULL,
            PRIMARY KEY (run_id, candidate),
            FOREIGN KEY (run_id, candidate) REFERENCES nims ON DELETE CASCADE
        ) STRICT""",
        """CREATE TABLE resources (
            kind TEXT NOT NULL, name TEXT NOT NULL, run_id TEXT NOT NULL, platform TEXT NOT NULL,
            created_at TEXT NOT NULL, details TEXT NOT NULL,
            PRIMARY KEY (kind, name)
        ) STRICT""",
    ),
    (
        "ALTER TABLE flywheel_runs ADD COLUMN eval_set TEXT NOT NULL DEFAULT ''",
        "CREATE INDEX runs_by_eval_set ON flywheel_runs (workload_id, client_id, eval_set, started_at)",
        # No reference to flywheel_runs: saving a run again deletes and inserts it, and its judge runs must stay.
        """CREATE TABLE llm_judge_runs (
            id TEXT PRIMARY KEY, run_id TEXT NOT NULL, judge TEXT NOT NULL, created_at TEXT NOT NULL,
            document TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX judge_runs_by_run ON llm_judge_runs (run_id, created_at)",
    ),
    (
        "CREATE TABLE history (identity TEXT NOT NULL) STRICT",
        "INSERT INTO history VALUES (lower(hex(randomblob(8))))",
    ),
)


def prepare(
    connection: sqlite3.Connection, place: str, migrations: Sequence[Sequence[str]] = MIGRATIONS
) -> None:
    """Make the file's tables current, in one transaction, however many processes do so at once.

    Raises: DataError where the file belongs to something else or to a newer flywheel; sqlite3.Error.
    """
    connection.execute("BEGIN")  # what is read belongs together: another process may be making the tables
    with connection:
        current = _version(connection, place, len(migrations)) == len(migrations)
    if current:
        return
    _use_write_ahead_log(connection)
    connection.execute("BEGIN IMMEDIATE")
    with connection:  # commits, or rolls back on an exception
        for migration in migrations[_version(connection, place, len(migrations)) :]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")


def _version(connection: sqlite3.Connection, place: str, newest: int) -> int:
    [owner] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner != APPLICATION_ID and (owner or version or tables):
        raise DataError(f"{place} is a database of another program. Choose another file for the run store.")
    if version > newest:
        raise DataError(
            f"{place} was written by a newer flywheel (schema {version}, this one knows {newest}). "
            "Upgrade, or choose another file for the run store."
        )
    return int(version)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Readers and a writer then do not wait for each other. The change itself does not honour the busy timeout."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def explained(error: sqlite3.Error, place: str) -> DataError | TransientRemoteError:
    """What an SQLite error means to the user, and what to do."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None  # the rest of an extended code says where, not what
    match primary:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return TransientRemoteError(
                f"The run store {place} was locked by another process for {BUSY_SECONDS:.0f} s. Try again."
            )
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return DataError(
                f"The run store {place} is damaged or no SQLite database ({error}). Move it away; a new one is made."
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return DataError(
                f"The run store {place} cannot be opened for writing ({error}). Make the file and its directory "
                "writable, or choose another place."
            )
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return DataError(
                f"The run store {place} could not be written ({error}). Check the disk's free space."
            )
        case _:
            return DataError(f"The run store {place} failed: {error}. Move the file away if this stays.")
