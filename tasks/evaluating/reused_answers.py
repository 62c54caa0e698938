"""Answers of earlier runs put in place of questions, where `evaluation_config.reuse_answers` allows it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from blocks.connections import open_run_store
from blocks.ports import DatasetStore, Endpoint
from blocks.run_evidence import ITEMS, stored, stored_file
from flywheel.candidates import content_hash
from flywheel.config import CandidateConfig, EvaluationConfig, FlywheelConfig
from flywheel.errors import FlywheelError
from flywheel.evaluation.files import read_items
from flywheel.evaluation.item_file import ids_of
from flywheel.evaluation.predictions import Appender, answered_before, places_answered_before
from flywheel.evaluation.reuse import key_of, reusable, taken_over
from flywheel.results import EvalItem, Evaluation, Prediction, RunResult

RUNS_LOOKED_THROUGH = 10


def answerer_of(candidate: CandidateConfig, endpoint: Endpoint) -> str:
    """What stands for the model that answers: its weights where the platform tells them, else its address and name."""
    model = [endpoint.revision] if endpoint.revision else [endpoint.base_url, endpoint.model]
    return content_hash(model, candidate.context_length, candidate.deployment_config.model_dump())


async def reuse_answers(
    run_id: str,
    config: FlywheelConfig,
    store: DatasetStore,
    answerer: str,
    items: Sequence[EvalItem],
    file: Path,
) -> None:
    """Append to `file` what earlier runs of this history hold for items that it has no answer to."""
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        earlier = await asyncio.to_thread(
            runs.list_runs, config.workload_id, config.client_id, RUNS_LOOKED_THROUGH
        )
    earlier = [run for run in earlier if run.run_id != run_id]
    await asyncio.to_thread(_take_over, earlier, config, store, answerer, items, file)


def _take_over(
    earlier: Sequence[RunResult],
    config: FlywheelConfig,
    store: DatasetStore,
    answerer: str,
    items: Sequence[EvalItem],
    file: Path,
) -> None:
    done = places_answered_before(file, set(ids_of(items)))
    wanted: dict[str, list[str]] = {}
    for item in items:
        key = key_of(item, config.evaluation_config) if item.id not in done else None
        if key is not None:
            wanted.setdefault(key, []).append(item.id)
    with Appender(file) as appender:
        for run in earlier:
            for candidate in run.candidates:
                for evaluation in candidate.evaluations:
                    if not wanted or evaluation.answerer != answerer:
                        continue
                    for key, answer in _answers(run, evaluation, store, wanted):
                        for item_id in wanted.pop(key, ()):
                            appender.append(taken_over(item_id, answer, run.run_id))


def _answers(
    run: RunResult, evaluation: Evaluation, store: DatasetStore, wanted: dict[str, list[str]]
) -> list[tuple[str, Prediction]]:
    """What an earlier evaluation holds of it; nothing where its files are gone."""
    if evaluation.predictions is None:
        return []
    try:
        if evaluation.in_context:
            asked = read_items(stored(store, evaluation.in_context) / ITEMS.name)
        else:
            asked = read_items(stored(store, run.datasets["datasets"]) / ITEMS)
        answers = answered_before(stored_file(store, evaluation.predictions), set(ids_of(asked)))
        settings = EvaluationConfig.model_validate(run.config["evaluation_config"])
    except (FlywheelError, KeyError, ValueError, OSError):
        return []
    return list(reusable(asked, answers, settings, wanted))
