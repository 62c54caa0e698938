"""What earlier runs of the workload left, read at a run's beginning, and what this one leaves, written at its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from blocks.connections import open_dataset_store, open_run_store
from blocks.ports import DatasetStore
from blocks.run_evidence import stored
from flywheel.config import FlywheelConfig
from flywheel.curation.texts.fixed_text import FixedText
from flywheel.curation.texts.fixed_text_search import fixed_text_of
from flywheel.curation.validated_table import numbers
from flywheel.datasets.validated_rows import read_assignment, take_rows
from flywheel.errors import FlywheelError
from flywheel.history.carry import KEPT_COLUMNS, as_extracted
from flywheel.history.ledger import EVALUATED, TRAINED, ledger_rows, read_ledger, union
from flywheel.history.memory import (
    LEDGER_FILE,
    HoldoutUse,
    Memory,
    kept_ids,
    read_kept,
    read_memory,
    recall,
    write_memory,
)
from flywheel.history.traffic_profile import profile_when_drawn
from flywheel.progress import Progress
from flywheel.results import CandidateResult, RunResult
from tasks.curating.curation import CuratedData, HistoryOfData, Reference, find_or_make
from tasks.curating.dataset_keys import content_of
from tasks.retry_conditions import is_transient
from tasks.runs import change_run

MOST_RUNS = 1_000


@task(
    task_run_name="recall history",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[2, 10, 30],
    retry_condition_fn=is_transient,
)
async def recall_history(run_id: str, config: FlywheelConfig) -> Reference:
    """What the workload's earlier runs left, as this run's own memory: a run that is resumed finds the same.

    Without earlier runs, or where the settings say so, it is empty and changes nothing. A memory that is gone is passed
    over with a warning: an older one may be there.
    """
    store = await open_dataset_store(config.connections)
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        earlier = await asyncio.to_thread(runs.list_runs, config.workload_id, config.client_id, MOST_RUNS)
    memories = _memories(run_id, earlier, store) if config.history_config.keep_evaluation_set else []

    def make(out: Path, progress: Progress) -> dict[str, Any]:
        memory = recall(memories, out)
        return {
            "runs": len(memory.runs),
            "kept": read_kept(out).num_rows,
            "uses": memory.holdout.uses if memory.holdout else 0,
        }

    return await find_or_make(config, "history", {"run": run_id}, make)


def _memories(run_id: str, newest_first: Sequence[RunResult], store: DatasetStore) -> list[Path]:
    found = []
    for run in newest_first:
        if run.memory is None or run.run_id == run_id:
            continue
        try:
            found.append(stored(store, run.memory))
        except FlywheelError as error:
            get_run_logger().warning(
                "What run %s left cannot be read and is passed over: %s", run.run_id, error
            )
    return found


def history_of_data(history: Reference, extracted: Reference, sides: Reference) -> HistoryOfData:
    """What the steps of curation counted of earlier runs' records."""
    names = ("kept", "fresh_ids", "held_back", "renewed", "renewal_short", "kept_near_trained")
    counted = {name: sides.counts[name] for name in names if name in sides.counts}
    return HistoryOfData(memory=history, not_in_log=extracted.counts.get("not_in_log", 0), **counted)


@task(
    task_run_name="remember",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[2, 10, 30],
    retry_condition_fn=is_transient,
)
async def remember(
    run_id: str, config: FlywheelConfig, data: CuratedData, results: list[CandidateResult]
) -> str | None:
    """Leave the evaluation set and the ledger for later runs; where they lie, None where nothing was evaluated.

    What was built and not used is not entered: no candidate was measured on it, or none was trained.
    """
    evaluated = any(
        score.n
        for result in results
        for evaluation in result.evaluations
        for score in evaluation.scores.values()
    )
    trained = any(
        result.customization is not None and result.customization.status == "completed" for result in results
    )
    if not evaluated or data.history.memory is None or not config.history_config.keep_evaluation_set:
        return None
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        run = await asyncio.to_thread(runs.load_run, run_id)
    store = await open_dataset_store(config.connections)
    memory, records, sides = (
        store.open(part.ref) for part in (data.history.memory, data.validated, data.assignment)
    )
    used = {EVALUATED: evaluated, TRAINED: trained}

    def make(out: Path, progress: Progress) -> dict[str, Any]:
        fixed = fixed_text_of(records, config.dedup_config)
        return _leave(out, run, data.history, used, memory, records, sides, fixed)

    key = {"run": run_id, "parents": [content_of(part) for part in (memory, records, sides)], "used": used}
    reference = await find_or_make(config, "memory", key, make)
    await change_run(run_id, config, lambda kept: msgspec.structs.replace(kept, memory=reference.uri))
    return reference.uri


def _leave(
    out: Path,
    run: RunResult,
    history: HistoryOfData,
    used: dict[str, bool],
    memory: Path,
    validated: Path,
    assignment: Path,
    fixed: FixedText,
) -> dict[str, Any]:
    before = read_memory(memory)
    table = read_assignment(assignment)
    sides = np.asarray(table["split"].to_pylist(), dtype=object)
    ids = np.asarray(table["record_id"].to_pylist(), dtype=object)
    rows = numbers(table["row"]).astype(np.int64)
    clusters = table["cluster"].to_pylist()
    ledgers = [read_ledger(memory / LEDGER_FILE)]
    for way, chosen in ((EVALUATED, sides == "evaluation"), (TRAINED, sides != "evaluation")):
        if used[way]:
            places = np.flatnonzero(chosen)
            names = [clusters[place] for place in places.tolist()]
            ledgers.append(ledger_rows(validated, rows[places], names, way, run.run_id, fixed))
    ledger = union(ledgers)
    kept = read_kept(memory)
    if history.renewed:
        kept = kept.slice(0, 0)
    known = set(kept_ids(kept)) | set(history.fresh_ids)
    new = np.flatnonzero((sides == "evaluation") & np.array([name not in known for name in ids], dtype=bool))
    added = as_extracted(take_rows(validated, rows[new], KEPT_COLUMNS), run.workload_id, run.client_id)
    kept = pa.concat_tables([kept, added])
    holdout = HoldoutUse(run.eval_set, run.started_at, 1)
    if before.holdout is not None and not history.renewed:
        holdout = HoldoutUse(run.eval_set, before.holdout.since, before.holdout.uses + 1)
    drawn_from = before.drawn_from
    if drawn_from is None or history.renewed:
        drawn_from = profile_when_drawn(validated, kept_ids(kept), drawn_from)
    left = Memory(holdout=holdout, runs=sorted({*before.runs, run.run_id}), drawn_from=drawn_from)
    write_memory(out, left, kept, ledger)
    return {"kept": kept.num_rows, "ledger": ledger.num_rows, "uses": holdout.uses}
