"""The stored files of a run, read back for its reports."""

from __future__ import annotations

import json
from pathlib import Path

from blocks.ports import DatasetRef, DatasetStore
from flywheel.errors import FlywheelError
from flywheel.evaluation.files import read_items
from flywheel.evaluation.predictions import answered_before
from flywheel.report.comparison import ItemScores, Key
from flywheel.report.evidence import AnswersOf, Evidence, answers_of
from flywheel.results import EvalItem, Evaluation, RunResult

ITEMS = Path("base") / "eval_data.jsonl"


def stored(store: DatasetStore, uri: str) -> Path:
    """The local directory of the dataset at `uri`. Raises DatasetError."""
    return store.open(DatasetRef(name=uri.rpartition("/")[2], uri=uri))


def stored_file(store: DatasetStore, uri: str) -> Path:
    """The local path of a file inside a dataset, `uri` being that of the file. Raises DatasetError."""
    folder, _, name = uri.rpartition("/")
    return stored(store, folder) / name


def evidence_of(run: RunResult, store: DatasetStore) -> Evidence:
    """Everything that is there; what is gone or damaged is named in `missing` and ends nothing."""
    missing: list[str] = []
    items, items_file = _items(run, store, missing)
    answers: list[AnswersOf] = []
    for candidate in run.candidates:
        for evaluation in candidate.evaluations:
            try:
                found = _answers(candidate.candidate, evaluation, store, items, items_file)
            except FlywheelError as error:
                missing.append(f"Answers of {candidate.candidate} in its {evaluation.eval_type}: {error}")
                continue
            if found is not None:
                answers.append(found)
    return Evidence(
        answers=answers, items=items, certificate=_certificate(run, store, missing), missing=missing
    )


def item_scores(run: RunResult, store: DatasetStore) -> dict[Key, ItemScores]:
    """The main scores of single items, of those evaluations whose files are there."""
    items, _ = _items(run, store, [])
    clusters = {name: item.cluster for name, item in items.items()}
    found: dict[Key, ItemScores] = {}
    for candidate in run.candidates:
        for evaluation in candidate.evaluations:
            if evaluation.predictions is None or evaluation.primary is None or not items:
                continue
            try:
                path = stored_file(store, evaluation.predictions)
            except FlywheelError:
                continue  # shown as not paired
            scores = {
                name: prediction.scores.get(evaluation.primary)
                for name, prediction in answered_before(path, set(items)).items()
            }
            found[(candidate.candidate, evaluation.eval_type)] = ItemScores(scores, clusters)
    return found


def logged_times(run: RunResult, store: DatasetStore) -> list[float]:
    """When the run's records were logged, seconds since 1970; those without a time are left out.

    Raises: DatasetError where the records are not there any more.
    """
    from flywheel.curation.validated_table import read_columns

    if "validated" not in run.datasets:
        return []
    column = read_columns(stored(store, run.datasets["validated"]), ["timestamp"])["timestamp"]
    return [moment for moment in column.to_pylist() if moment is not None]


def _items(run: RunResult, store: DatasetStore, missing: list[str]) -> tuple[dict[str, EvalItem], str]:
    if "datasets" not in run.datasets:
        missing.append("The run has no datasets: it ended before they were built.")
        return {}, ""
    try:
        path = stored(store, run.datasets["datasets"]) / ITEMS
        return {item.id: item for item in read_items(path)}, str(path)
    except FlywheelError as error:
        missing.append(f"Evaluation items: {error}")
        return {}, ""


def _answers(
    candidate: str, evaluation: Evaluation, store: DatasetStore, items: dict[str, EvalItem], items_file: str
) -> AnswersOf | None:
    if evaluation.predictions is None or not items:
        return None
    path = stored_file(store, evaluation.predictions)
    return answers_of(
        candidate,
        evaluation.eval_type,
        items,
        answered_before(path, set(items)),
        items_file=items_file,
        predictions_file=str(path),
    )


def _certificate(run: RunResult, store: DatasetStore, missing: list[str]) -> dict[str, object] | None:
    if "assignment" not in run.datasets:
        return None
    try:
        text = (stored(store, run.datasets["assignment"]) / "certificate.json").read_text(encoding="utf-8")
        found: dict[str, object] = json.loads(text)
        return found
    except (FlywheelError, OSError, ValueError) as error:
        missing.append(f"Leakage certificate: {error}")
        return None
