"""The embedded run store: history and ledger in one SQLite file."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from blocks.history.run_documents import no_such_run, searchable, several_runs
from blocks.history.sqlite_rows import (
    delete_resource,
    delete_run,
    get_run,
    get_runs,
    parsed,
    put_judge_run,
    put_resource,
    put_run,
)
from blocks.history.sqlite_schema import BUSY_SECONDS, explained, prepare
from blocks.ports import BestScore, LedgerEntry
from flywheel.errors import DataError
from flywheel.results import CandidateResult, Evaluation, JudgeRun, RunResult
from flywheel.retention import SCORED

_AT_A_TIME = 50


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
        with self._transaction(write=True) as connection:
            put_run(connection, run)

    def update_run(self, run_id: str, change: Callable[[RunResult], RunResult]) -> RunResult:
        """Replace a run by what `change` makes of it; other writers wait meanwhile."""
        with self._transaction(write=True) as connection:
            run = change(_load(connection, run_id))
            put_run(connection, run)
            return run

    def load_run(self, run_id: str) -> RunResult:
        """The run with this id, or whose id alone begins with it.

        Raises: DataError with the nearest ids where there is none, or with those that begin so where there are
        several.
        """
        with self._transaction() as connection:
            return _load(connection, run_id)

    def find_run(self, run_id: str) -> RunResult | None:
        """The run with exactly this id, or None."""
        with self._transaction() as connection:
            return get_run(connection, searchable(run_id))

    def list_runs(
        self, workload_id: str | None = None, client_id: str | None = None, limit: int = 50
    ) -> list[RunResult]:
        """The newest runs, of one workload or client where given, newest first."""
        with self._transaction() as connection:
            ids = _column(
                connection,
                "SELECT run_id FROM flywheel_runs "
                "WHERE workload_id = coalesce(?, workload_id) AND client_id = coalesce(?, client_id) "
                "ORDER BY started_at DESC, run_id DESC LIMIT ?",
                [_or_none(workload_id), _or_none(client_id), max(0, limit)],
            )
            return get_runs(connection, ids)

    def all_runs(self) -> Iterator[RunResult]:
        """Every run that was there at the start and still is, oldest first, a few in memory at a time."""
        with self._transaction() as connection:
            ids = _column(connection, "SELECT run_id FROM flywheel_runs ORDER BY started_at, run_id", [])
        for start in range(0, len(ids), _AT_A_TIME):
            with self._transaction() as connection:
                found = get_runs(connection, ids[start : start + _AT_A_TIME])
            yield from found

    def comparable_run(self, run: RunResult) -> RunResult | None:
        """The newest run before `run` of the same workload and client over the same evaluation set, with scores."""
        if not run.eval_set:
            return None
        with self._transaction() as connection:
            ids = _column(
                connection,
                "SELECT run_id FROM flywheel_runs WHERE workload_id = ? AND client_id = ? AND eval_set = ? "
                f"AND started_at < ? AND status IN ({', '.join('?' * len(SCORED))}) "
                "ORDER BY started_at DESC, run_id DESC LIMIT 1",
                [
                    searchable(run.workload_id),
                    searchable(run.client_id),
                    run.eval_set,
                    run.started_at,
                    *SCORED,
                ],
            )
            return get_run(connection, ids[0]) if ids else None

    def best_score(
        self, workload_id: str, client_id: str, metric: str, eval_set: str | None = None
    ) -> BestScore | None:
        """The best score so far under one metric, on one evaluation set where given; the earliest in a tie."""
        with self._transaction() as connection:
            best_first = connection.execute(
                "SELECT evaluations.document, nims.document, flywheel_runs.document FROM flywheel_runs "
                "JOIN nims USING (run_id) JOIN evaluations USING (run_id, candidate) "
                "WHERE workload_id = ? AND client_id = ? AND eval_set = coalesce(?, eval_set) "
                "AND score IS NOT NULL AND evaluations.error IS NULL "
                "ORDER BY score DESC, started_at, run_id, nims.position, evaluations.position",
                [searchable(workload_id), searchable(client_id), eval_set],
            )
            for evaluation_text, candidate_text, run_text in best_first:
                evaluation = parsed(evaluation_text, Evaluation)
                if evaluation.primary == metric:
                    return BestScore(
                        parsed(run_text, RunResult).run_id,
                        parsed(candidate_text, CandidateResult).candidate,
                        evaluation,
                    )
        return None

    def remove_run(self, run_id: str) -> bool:
        """Remove a run and all below it. False, and nothing happens, where it is running or holds resources."""
        wanted = searchable(run_id)
        with self._transaction(write=True) as connection:
            alive = connection.execute(
                "SELECT 1 FROM flywheel_runs WHERE run_id = ? AND status = 'running' "
                "UNION SELECT 1 FROM resources WHERE run_id = ?",
                [wanted, wanted],
            ).fetchall()
            if not alive:
                delete_run(connection, wanted)
                connection.execute("DELETE FROM llm_judge_runs WHERE run_id = ?", [wanted])
            return not alive

    def save_judge_run(self, judged: JudgeRun) -> None:
        """Insert or replace what a judge said."""
        with self._transaction(write=True) as connection:
            put_judge_run(connection, judged)

    def judge_runs(self, run_id: str) -> list[JudgeRun]:
        """What judges said of a run, oldest first."""
        with self._transaction() as connection:
            documents = _column(
                connection,
                "SELECT document FROM llm_judge_runs WHERE run_id = ? ORDER BY created_at, id",
                [searchable(run_id)],
            )
        return [parsed(text, JudgeRun) for text in documents]

    def record_resource(self, entry: LedgerEntry) -> None:
        """Note that this exists or is about to; an entry of the same kind and name is replaced."""
        with self._transaction(write=True) as connection:
            put_resource(connection, entry)

    def strike_resource(self, kind: str, name: str) -> None:
        """Note that this is gone; nothing happens where it was not noted."""
        with self._transaction(write=True) as connection:
            delete_resource(connection, kind, name)

    def allocated(self, run_id: str | None = None) -> list[LedgerEntry]:
        """What is noted and not struck off, of one run where given, oldest first."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT run_id, kind, name, platform, created_at, details FROM resources "
                "WHERE run_id = coalesce(?, run_id) ORDER BY created_at, kind, name",
                [_or_none(run_id)],
            ).fetchall()
        return [
            LedgerEntry(owner, kind, name, platform, created_at, json.loads(details))
            for owner, kind, name, platform, created_at, details in rows
        ]

    def identity(self) -> str:
        """An id of this history, made together with its file."""
        with self._transaction() as connection:
            [[identity]] = connection.execute("SELECT identity FROM history").fetchall()
        return str(identity)

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


def _load(connection: sqlite3.Connection, run_id: str) -> RunResult:
    wanted = searchable(run_id)
    if run := get_run(connection, wanted):
        return run
    begin_so = _column(
        connection,
        "SELECT run_id FROM flywheel_runs WHERE substr(run_id, 1, ?) = ? "
        "ORDER BY started_at DESC, run_id LIMIT 6",
        [len(wanted), wanted],
    )
    if len(begin_so) > 1:
        raise several_runs(run_id, begin_so)
    if begin_so:
        return get_runs(connection, begin_so)[0]
    raise no_such_run(
        run_id, _column(connection, "SELECT run_id FROM flywheel_runs ORDER BY started_at DESC", [])
    )


def _column(connection: sqlite3.Connection, statement: str, values: list[Any]) -> list[str]:
    return [row[0] for row in connection.execute(statement, values)]


def _or_none(text: str | None) -> str | None:
    return None if text is None else searchable(text)
