"""Divergent answers of a finished run, read back from the stored predictions."""

from __future__ import annotations

from pathlib import Path

from blocks.ports import DatasetRef, DatasetStore
from flywheel.evaluation.divergent import divergent_answers
from flywheel.evaluation.files import read_items
from flywheel.evaluation.predictions import answered_before
from flywheel.report.divergent import divergent_rows
from flywheel.report.summary import best_evaluation
from flywheel.report.tables import Row
from flywheel.results import RunResult


def divergent_table(run: RunResult, store: DatasetStore, *, most: int) -> list[Row]:
    """The worst divergent answers of every candidate's best evaluation, as rows of safe text."""
    items = read_items(_stored(store, run.datasets["datasets"]) / "base" / "eval_data.jsonl")
    found = []
    for candidate in run.candidates:
        best = best_evaluation([candidate])
        if best is None or best[1].predictions is None:
            continue
        folder, _, file = best[1].predictions.rpartition("/")
        predictions = answered_before(_stored(store, folder) / file, {item.id for item in items})
        found += [
            (candidate.candidate, best[1].eval_type, answer)
            for answer in divergent_answers(items, predictions)
        ]
    return divergent_rows(found, most=most)


def _stored(store: DatasetStore, uri: str) -> Path:
    return store.open(DatasetRef(name=uri.rpartition("/")[2], uri=uri))
