"""Erasing records: everything that they reached, what was done about it, and what somebody else has to do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from blocks.erasure.datasets import DatasetSearch, Place
from blocks.ports import DatasetStore, RunStore
from flywheel.datasets.build import INDEX_FILE
from flywheel.results import Evaluation, RunResult

MARK = "erased-records.jsonl"
"""Beside an adapter: the records that it learned from and that were erased since. Weights cannot forget one."""


class ReachedEvaluation(msgspec.Struct, frozen=True):
    """Scores that were computed with a record in them; they stay as they were."""

    run_id: str
    candidate: str
    eval_type: str
    predictions: str


class ReachedAdapter(msgspec.Struct, frozen=True):
    """A fine-tuned model that saw a record. `marked` says that a note lies beside it."""

    run_id: str
    candidate: str
    job: str
    model: str | None
    adapter: str | None
    marked: bool


class Erasure(msgspec.Struct, frozen=True):
    """What an erasure found and did. `repeats` are other records that asked the very same; they stay.

    `running` are runs that were going on: what they write later is not searched.
    """

    records: list[str]
    dry_run: bool
    on_list: bool
    datasets: list[Place]
    evaluations: list[ReachedEvaluation]
    adapters: list[ReachedAdapter]
    repeats: list[str]
    running: list[str]
    by_hand: list[str]


def erase(store: DatasetStore, runs: RunStore, record_ids: Collection[str], *, dry_run: bool) -> Erasure:
    """Put records on the erasure list and take them out of the datasets of the store.

    Args:
        dry_run: Only say what is there; nothing is changed.

    Raises: DatasetError, OSError.
    """
    ids = sorted(set(record_ids))
    if not dry_run:
        store.erase(ids)  # first: a run that starts meanwhile passes them over
    search = DatasetSearch(store, ids, dry_run=True)
    places = list(search.run())
    known = list(runs.all_runs())
    touched = {place.dataset for place in places}
    trained = {place.dataset for place in places if place.file in _TRAINED}
    # Before anything goes: what learned from a record is known by the rows, and an erasure may be killed on its way.
    adapters = [found for run in known for found in _adapters(run, trained, ids, dry_run=dry_run)]
    if not dry_run:
        search = DatasetSearch(store, ids, dry_run=False)
        places = list(search.run())
    evaluations = [found for run in known for found in _evaluations(run, touched)]
    return Erasure(
        records=ids,
        dry_run=dry_run,
        on_list=not dry_run,
        datasets=places,
        evaluations=evaluations,
        adapters=adapters,
        repeats=sorted(search.repeats - set(ids)),
        running=[run.run_id for run in known if run.status == "running"],
        by_hand=_by_hand(evaluations, adapters, places),
    )


_TRAINED = frozenset({"train/training.jsonl", "train/validation.jsonl", INDEX_FILE})


def _evaluations(run: RunResult, touched: Collection[str]) -> list[ReachedEvaluation]:
    return [
        ReachedEvaluation(run.run_id, candidate.candidate, evaluation.eval_type, evaluation.predictions)
        for candidate in run.candidates
        for evaluation in candidate.evaluations
        if evaluation.predictions and _asked_and_answered(evaluation) & set(touched)
    ]


def _asked_and_answered(evaluation: Evaluation) -> set[str]:
    """Names of the datasets that an evaluation is of: its answers, and items with examples in them."""
    folders = [(evaluation.predictions or "").rpartition("/")[0], evaluation.in_context or ""]
    return {folder.rpartition("/")[2] for folder in folders}


def _adapters(
    run: RunResult, trained: Collection[str], ids: Collection[str], *, dry_run: bool
) -> list[ReachedAdapter]:
    """Those of a run whose training rows hold a record, or held it when an earlier erasure marked them."""
    reached = run.datasets.get("datasets", "").rpartition("/")[2] in trained
    found = []
    for candidate in run.candidates:
        made = candidate.customization
        if made is None or made.status != "completed":
            continue
        marked = _marked(Path(made.adapter)) & set(ids) if made.adapter is not None else set()
        if not reached and not marked:
            continue
        if made.adapter is not None and reached and not dry_run:
            marked |= _mark(Path(made.adapter), sorted(set(ids) - marked))
        found.append(
            ReachedAdapter(run.run_id, candidate.candidate, made.job, made.model, made.adapter, bool(marked))
        )
    return found


def _marked(adapter: Path) -> set[str]:
    """The records that an adapter's note names; a line that a killed erasure left unfinished names none."""
    names = set()
    with contextlib.suppress(OSError):
        for line in (adapter / MARK).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                names.add(str(json.loads(line)["record_id"]))
    return names


def _mark(adapter: Path, ids: Collection[str]) -> set[str]:
    """Add to the note beside an adapter, if that is on this machine; returns what was added."""
    if not adapter.is_dir():
        return set()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with (adapter / MARK).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({"record_id": name, "erased_at": now}) + "\n" for name in ids)
    return set(ids)


def _by_hand(
    evaluations: list[ReachedEvaluation], adapters: list[ReachedAdapter], places: list[Place]
) -> list[str]:
    tasks = [
        "Remove the record from the log itself; until then every run passes it over by the erasure list."
    ]
    if places:
        tasks.append(
            "If other machines made runs with this dataset store at a URL, delete what lies below "
            "dataset-copies in their homes: partial answers, and copies until they next open the dataset."
        )
    if evaluations:
        of_runs = ", ".join(sorted({found.run_id for found in evaluations}))
        tasks.append(
            f"Delete the artifacts of these flow runs in Prefect, and reports that were made of them: {of_runs}. "
            "They may show the record's text."
        )
    if adapters:
        of_jobs = ", ".join(sorted({found.job for found in adapters}))
        tasks.append(
            f"Decide about the fine-tuned models {of_jobs}: weights cannot forget one record. Train again without it "
            "by running the workload again, then delete these, and what a hosted platform keeps of their uploads."
        )
    return tasks
