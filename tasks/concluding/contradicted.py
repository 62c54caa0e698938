"""Which items of a run production contradicts itself on, and what the scores are without them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path

from blocks.ports import DatasetStore
from blocks.run_evidence import stored_file
from flywheel.curation.duplicates.contradictions import contradictions_of
from flywheel.curation.validated_table import read_columns
from flywheel.evaluation.files import read_items
from flywheel.findings.contradicted import Contradicted
from flywheel.results import CandidateResult, Evaluation, RunResult
from tasks.curating.curation import CuratedData
from tasks.evaluating.answers import read_predictions


def contradicted_of(run: RunResult, data: CuratedData, store: DatasetStore) -> list[Contradicted]:
    """One entry for each evaluation with scores; empty where no item is contradicted."""
    ids = [item.id for item in read_items(store.open(data.datasets.ref) / "base" / "eval_data.jsonl")]
    found = contradicted_ids(store.open(data.validated.ref), ids)
    if not found:
        return []
    entries = []
    for candidate in run.candidates:
        for evaluation in candidate.evaluations:
            if evaluation.predictions is None or evaluation.primary is None:
                continue
            predictions = read_predictions(stored_file(store, evaluation.predictions))
            scores = {
                p.id: score for p in predictions if (score := p.scores.get(evaluation.primary)) is not None
            }
            entries.append(with_and_without(candidate, evaluation, scores, found, len(ids)))
    return entries


def contradicted_ids(validated: Path, items: Collection[str]) -> set[str]:
    """Those of the evaluation items whose request production answered in materially different ways."""
    rows = {row for one in contradictions_of(validated, items) for row in one.rows}
    if not rows:
        return set()
    names = read_columns(validated, ["record_id"])["record_id"]
    return {names[row].as_py() for row in rows} & set(items)


def with_and_without(
    candidate: CandidateResult,
    evaluation: Evaluation,
    scores: Mapping[str, float],
    contradicted: Collection[str],
    of: int,
) -> Contradicted:
    """The means of one evaluation's main score, by item."""
    theirs = [score for name, score in scores.items() if name in contradicted]
    others = [score for name, score in scores.items() if name not in contradicted]
    return Contradicted(
        candidate=candidate.candidate,
        eval_type=evaluation.eval_type,
        metric=evaluation.primary or "",
        contradicted=len(contradicted),
        of=of,
        n=len(scores),
        items=len(theirs),
        score=_mean([*theirs, *others]),
        without=_mean(others),
        on_them=_mean(theirs),
    )


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
