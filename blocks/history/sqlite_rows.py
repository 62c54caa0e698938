"""Runs as rows of the SQLite tables of `blocks.history.sqlite_schema`, and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from blocks.history.run_documents import from_json, searchable, to_json
from blocks.ports import LedgerEntry
from flywheel.results import CandidateResult, Customization, Evaluation, JudgeRun, RunResult

T = TypeVar("T")


def put_run(connection: sqlite3.Connection, run: RunResult) -> None:
    """Insert or replace a run with all below it."""
    run_id = searchable(run.run_id)
    delete_run(connection, run_id)
    _insert(
        connection,
        "flywheel_runs",
        run_id=run_id,
        workload_id=run.workload_id,
        client_id=run.client_id,
        status=run.status,
        started_at=run.started_at,
        finished_at=run.finished_at,
        eval_set=run.eval_set,
        document=to_json(msgspec.structs.replace(run, candidates=[])),
    )
    for position, candidate in enumerate(run.candidates):
        _insert_candidate(connection, run_id, position, candidate)


def delete_run(connection: sqlite3.Connection, run_id: str) -> None:
    """Delete a run and, by its foreign keys, all below it; its judge runs stay."""
    connection.execute("DELETE FROM flywheel_runs WHERE run_id = ?", [run_id])


def get_run(connection: sqlite3.Connection, run_id: str) -> RunResult | None:
    """The run with exactly this id, or None."""
    row = connection.execute("SELECT document FROM flywheel_runs WHERE run_id = ?", [run_id]).fetchone()
    if row is None:
        return None
    evaluations: dict[str, list[Evaluation]] = {}
    for candidate, text in connection.execute(
        "SELECT candidate, document FROM evaluations WHERE run_id = ? ORDER BY position", [run_id]
    ):
        evaluations.setdefault(candidate, []).append(parsed(text, Evaluation))
    tuned = {
        candidate: parsed(text, Customization)
        for candidate, text in connection.execute(
            "SELECT candidate, document FROM customizations WHERE run_id = ?", [run_id]
        )
    }
    candidates = [
        msgspec.structs.replace(
            parsed(text, CandidateResult),
            evaluations=evaluations.get(candidate, []),
            customization=tuned.get(candidate),
        )
        for candidate, text in connection.execute(
            "SELECT candidate, document FROM nims WHERE run_id = ? ORDER BY position", [run_id]
        )
    ]
    return msgspec.structs.replace(parsed(row[0], RunResult), candidates=candidates)


def get_runs(connection: sqlite3.Connection, run_ids: Iterable[str]) -> list[RunResult]:
    """The runs with these ids, in their order; those that are not there are left out."""
    found = (get_run(connection, run_id) for run_id in run_ids)
    return [run for run in found if run is not None]


def put_judge_run(connection: sqlite3.Connection, judged: JudgeRun) -> None:
    """Insert or replace what a judge said."""
    connection.execute("DELETE FROM llm_judge_runs WHERE id = ?", [searchable(judged.id)])
    _insert(
        connection,
        "llm_judge_runs",
        id=judged.id,
        run_id=judged.run_id,
        judge=judged.judge,
        created_at=judged.created_at,
        document=to_json(judged),
    )


def put_resource(connection: sqlite3.Connection, entry: LedgerEntry) -> None:
    """Insert or replace an entry of the ledger."""
    delete_resource(connection, entry.kind, entry.name)
    _insert(
        connection,
        "resources",
        kind=entry.kind,
        name=entry.name,
        run_id=entry.run_id,
        platform=entry.platform,
        created_at=entry.created_at,
        details=to_json(entry.details),
    )


def delete_resource(connection: sqlite3.Connection, kind: str, name: str) -> None:
    """Strike an entry off the ledger."""
    connection.execute(
        "DELETE FROM resources WHERE kind = ? AND name = ?", [searchable(kind), searchable(name)]
    )


def parsed(text: str, kind: type[T]) -> T:
    """A stored document. Raises DataError where it cannot be read."""
    return from_json(text, kind, "The run store's SQLite file")


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
        document=to_json(msgspec.structs.replace(result, evaluations=[], customization=None)),
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
            document=to_json(evaluation),
        )
    if tuned := result.customization:
        _insert(
            connection, "customizations", **whose, job=tuned.job, status=tuned.status, document=to_json(tuned)
        )


def _insert(connection: sqlite3.Connection, table: str, **columns: Any) -> None:
    """Insert a row; columns that later versions added keep their defaults."""
    marks = ", ".join("?" * len(columns))
    values = [searchable(value) if isinstance(value, str) else value for value in columns.values()]
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)
