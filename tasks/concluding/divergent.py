"""Divergent answers of a finished run, read back from the stored predictions."""

from __future__ import annotations

from blocks.ports import DatasetStore
from blocks.run_evidence import evidence_of
from flywheel.report.divergent import divergent_rows
from flywheel.report.evidence import Evidence
from flywheel.report.summary import best_evaluation
from flywheel.report.tables import Row
from flywheel.results import RunResult


def divergent_table(run: RunResult, store: DatasetStore, *, most: int) -> list[Row]:
    """The worst divergent answers of every candidate's best evaluation, as rows of safe text."""
    return worst_answers(run, evidence_of(run, store), most=most)


def worst_answers(run: RunResult, evidence: Evidence, *, most: int) -> list[Row]:
    """The same from evidence that was read before."""
    found = []
    for candidate in run.candidates:
        best = best_evaluation([candidate])
        answers = evidence.of(candidate.candidate, best[1].eval_type) if best else None
        if answers:
            found += [(answers.candidate, answers.eval_type, answer) for answer in answers.divergent]
    return divergent_rows(found, most=most)
