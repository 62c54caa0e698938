"""The embedded run store: history and ledger in one SQLite file."""

from __future__ import annotations

import contextlib
import difflib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from blocks.ports import LedgerEntry
from blocks.sqlite_schema import BUSY_SECONDS, explained, prepare
from flywheel.errors import DataError
from flywheel.results import CandidateResult, Customization, Evaluation, RunResult

T = TypeVar("T")

_NEAREST = 3


class SqliteRunStore:
    """Runs, candidates, evaluations, customizations and the ledger, in the file `path`.

    Every call has a connection of its own, so the store may be used from any thread, and by several processes at
    once on one machine (not over a network file system: SQLite's write-ahead log needs shared memory). A call that
    writes does so in one transaction.

    Every method raises DataError where the file is damaged, not writable or not ours, and TransientRemoteError
    where another process kept it locked.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path).absolute()

    def save_run(self, run: RunResult) -> None:
        """Insert or replace a run with its candidates, evaluations and customizations."""
        head = msgspec.structs.replace(run, candidates=[])
        with self._transaction(write=True) as connection:
            connection.execute("DELETE FROM flywheel_runs WHERE run_id = ?", [run.run_id])  # and all below it
            _insert(
                connection,
                "flywheel_runs",
                run_id=run.run_id,
                workload_id=run.workload_id,
                client_id=run.client_id,
                status=run.status,
                started_at=run.started_at,
                finished_at=run.finished_at,
                document=_to_json(head),
            )
            for position, candidate in enumerate(run.candidates):
                _insert_candidate(connection, run.run_id, position, candidate)

    def load_run(self, run_id: str) -> RunResult:
        """The run with this id, or whose id alone begins with it.

        Raises: DataError with the nearest ids where there is none, or with those that begin so where there are
        several.
        """
        with self._transaction() as connection:
            found = connection.execute(
                "SELECT run_id, document FROM flywheel_runs WHERE run_id = ?", [run_id]
            )
            rows = (
                found.fetchall()
                or connection.execute(
                    "SELECT run_id, document FROM flywheel_runs WHERE substr(run_id, 1, ?) = ? "
                    "ORDER BY started_at DESC, run_id LIMIT 6",
                    [len(run_id), run_id],
                ).fetchall()
            )
            if len(rows) == 1:
                return _load(connection, *rows[0])
            if rows:
                raise DataError(f"Several runs begin with {run_id!r}: {_listed(rows)}. Give more of the id.")
            known = connection.execute("SELECT run_id FROM flywheel_runs ORDER BY started_at DESC").fetchall()
        raise DataError(_no_such_run(run_id, [row[0] for row in known]))

    def list_runs(
        self, workload_id: str | None = None, client_id: str | None = None, limit: int = 50
    ) -> list[RunResult]:
        """The newest runs, of one workload or client where given, newest first."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT run_id, document FROM flywheel_runs "
                "WHERE workload_id = coalesce(?, workload_id) AND client_id = coalesce(?, client_id) "
                "ORDER BY started_at DESC, run_id DESC LIMIT ?",
                [workload_id, client_id, max(0, limit)],
            ).fetchall()
            return [_load(connection, *row) for row in rows]

    def record_resource(self, entry: LedgerEntry) -> None:
        """Note that this exists or is about to; an entry of the same kind and name is replaced."""
        with self._transaction(write=True) as connection:
            connection.execute("DELETE FROM resources WHERE kind = ? AND name = ?", [entry.kind, entry.name])
            _insert(
                connection,
                "resources",
                kind=entry.kind,
                name=entry.name,
                run_id=entry.run_id,
                platform=entry.platform,
                created_at=entry.created_at,
                details=_to_json(entry.details),
            )

    def strike_resource(self, kind: str, name: str) -> None:
        """Note that this is gone; nothing happens where it was not noted."""
        with self._transaction(write=True) as connection:
            connection.execute("DELETE FROM resources WHERE kind = ? AND name = ?", [kind, name])

    def allocated(self, run_id: str | None = None) -> list[LedgerEntry]:
        """What is noted and not struck off, of one run where given, oldest first."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT run_id, kind, name, platform, created_at, details FROM resources "
                "WHERE run_id = coalesce(?, run_id) ORDER BY created_at, kind, name",
                [run_id],
            ).fetchall()
        return [
            LedgerEntry(owner, kind, name, platform, created_at, json.loads(details))
            for owner, kind, name, platform, created_at, details in rows
        ]

    def close(self) -> None:
        """Nothing to do: connections live as long as the call that made them."""

    @contextlib.contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction that is committed at the end, or rolled back on an exception.

        Writers say so at the start and queue there, where the busy timeout holds; readers see one moment's state.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"The run store's directory {self._path.parent} cannot be made ({error.strerror}). "
                "Choose another place."
            ) from error
        try:
            connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
            with contextlib.closing(connection):
                connection.execute("PRAGMA foreign_keys = ON")
                prepare(connection, str(self._path))
                connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                with connection:
                    yield connection
        except sqlite3.Error as error:
            raise explained(error, str(self._path)) from error


def _insert(connection: sqlite3.Connection, table: str, **columns: Any) -> None:
    """Insert a row; columns that later versions added keep their defaults."""
    marks = ", ".join("?" * len(columns))
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", list(columns.values()))


def _insert_candidate(
    connection: sqlite3.Connection, run_id: str, position: int, result: CandidateResult
) -> None:
    whose = {"run_id": run_id, "candidate": result.candidate}
    _insert(
        connection,
        "nims",
        **whose,
        position=position,
        model_name=result.model_name,
        status=result.status,
        document=_to_json(msgspec.structs.replace(result, evaluations=[], customization=None)),
    )
    for place, evaluation in enumerate(result.evaluations):
        score = evaluation.scores.get(evaluation.primary) if evaluation.primary else None
        _insert(
            connection,
            "evaluations",
            **whose,
            eval_type=evaluation.eval_type,
            position=place,
            model=evaluation.model,
            score=score.value if score else None,
            error=evaluation.error,
            document=_to_json(evaluation),
        )
    if tuned := result.customization:
        _insert(
            connection,
            "customizations",
            **whose,
            job=tuned.job,
            status=tuned.status,
            document=_to_json(tuned),
        )


def _load(connection: sqlite3.Connection, run_id: str, document: str) -> RunResult:
    evaluations: dict[str, list[Evaluation]] = {}
    for candidate, text in connection.execute(
        "SELECT candidate, document FROM evaluations WHERE run_id = ? ORDER BY position", [run_id]
    ):
        evaluations.setdefault(candidate, []).append(_from_json(text, Evaluation))
    tuned = {
        candidate: _from_json(text, Customization)
        for candidate, text in connection.execute(
            "SELECT candidate, document FROM customizations WHERE run_id = ?", [run_id]
        )
    }
    candidates = [
        msgspec.structs.replace(
            _from_json(text, CandidateResult),
            evaluations=evaluations.get(candidate, []),
            customization=tuned.get(candidate),
        )
        for candidate, text in connection.execute(
            "SELECT candidate, document FROM nims WHERE run_id = ? ORDER BY position", [run_id]
        )
    ]
    return msgspec.structs.replace(_from_json(document, RunResult), candidates=candidates)


def _to_json(value: Any) -> str:
    """JSON that keeps infinities (an unbounded interval), which msgspec's own encoder writes as null."""
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=True)


def _from_json(text: str, kind: type[T]) -> T:
    try:
        return msgspec.convert(json.loads(text), kind)
    except (ValueError, msgspec.ValidationError) as error:
        raise DataError(
            f"The run store holds a {kind.__name__} that cannot be read ({error}). Move the store's file away."
        ) from error


def _listed(rows: list[tuple[str, str]]) -> str:
    ids = [row[0] for row in rows]
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")


def _no_such_run(run_id: str, known: list[str]) -> str:
    if not known:
        return f"There is no run {run_id!r}: the run store is empty. `flywheel run` makes one."
    nearest = difflib.get_close_matches(run_id, known, n=_NEAREST, cutoff=0.3) or known[:_NEAREST]
    return f"There is no run {run_id!r}. The nearest are {', '.join(nearest)}; `flywheel runs` lists all."
