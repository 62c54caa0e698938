"""Asking a model the evaluation items and scoring what it answers."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.connections import chat_key, open_dataset_store
from blocks.endpoints.chat_client import ChatClient
from blocks.ports import DatasetRef, DatasetStore, Endpoint
from flywheel.candidates import content_hash
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.datasets.icl import without_examples
from flywheel.evaluation.aggregate import aggregate
from flywheel.evaluation.files import read_items
from flywheel.evaluation.item_file import ids_of
from flywheel.evaluation.predictions import places_answered_before
from flywheel.evaluation.replay import Replay, replay, summary_of_overrides
from flywheel.evaluation.reuse import reuse_remarks
from flywheel.evaluation.runner import Answer, run_evaluation
from flywheel.naming import slug
from flywheel.results import EvalItem, EvalType, Evaluation, Prediction
from tasks.curating.curation import Reference
from tasks.evaluating.metrics import with_all_scores
from tasks.evaluating.platform_evaluation import asked_by_platform, evaluating_platform, replay_by_platform
from tasks.evaluating.reused_answers import answerer_of, reuse_answers
from tasks.progress import reporting
from tasks.retry_conditions import is_transient
from tasks.retry_delays import PLATFORM_SECONDS

ITEMS_FILE = "eval_data.jsonl"
PREDICTIONS_FILE = "predictions.jsonl"
HOW_TO_ASK = {
    "concurrency",
    "requests_per_minute",
    "tokens_per_minute",
    "circuit_seconds",
    "stream",
    "logprobs",
    "timeout_seconds",
    "max_attempts",
    "confidence_level",
    "extra_items",
    "reuse_answers",
}
"""Settings that change no answer: a resumed run may have others and keeps its answers."""


@task(
    task_run_name="{eval_type} {candidate.name}",
    cache_policy=NO_CACHE,
    retries=len(PLATFORM_SECONDS),
    retry_delay_seconds=PLATFORM_SECONDS,
    retry_condition_fn=is_transient,
)
async def evaluate(
    run_id: str,
    candidate: CandidateConfig,
    eval_type: EvalType,
    endpoint: Endpoint,
    datasets: Reference,
    icl: Reference | None,
    config: FlywheelConfig,
) -> Evaluation:
    """Ask `endpoint` the evaluation items, in their in-context form if `icl` has it, and score the answers.

    Every evaluation of a run is over the same items: one that found no room for examples is unscored in the icl-eval.
    Answers are kept as they come, under a name made from run, candidate and content: a retry, or a run that is
    resumed, asks only for what is missing.
    """
    store = await open_dataset_store(config.connections)
    items = read_items(store.open(datasets.ref) / "base" / ITEMS_FILE)
    asked = read_items(store.open(icl.ref) / ITEMS_FILE) if icl else items
    settings = config.evaluation_config
    what_decides_answers = settings.model_dump(exclude=HOW_TO_ASK)
    content = content_hash((icl or datasets).name, endpoint.model, what_decides_answers)
    name = f"{run_id}-{slug(candidate.name)}-{eval_type}-{content}"
    partial = store.scratch(name) / PREDICTIONS_FILE
    answerer = answerer_of(candidate, endpoint) if settings.evaluator == "flywheel" else ""
    if settings.reuse_answers and answerer:
        await reuse_answers(run_id, config, store, answerer, asked, partial)
    answered = await asyncio.to_thread(places_answered_before, partial, set(ids_of(asked)))
    started, clock = datetime.now(UTC), time.monotonic()
    platform = await evaluating_platform(config) if settings.evaluator != "flywheel" else None

    def replayed(item: EvalItem) -> Replay:
        if platform is not None:
            return replay_by_platform(item, endpoint, config, platform)
        return replay(item.request, endpoint.model, settings)

    async with reporting(
        f"{eval_type}-{candidate.name}", known_as={name: f"{candidate.name} {eval_type}"}
    ) as progress:
        predictions: Sequence[Prediction]
        if platform is not None:
            predictions = await asked_by_platform(run_id, name, endpoint, asked, config, partial, progress)
        else:
            key = await chat_key(config.connections)
            async with ChatClient(endpoint, settings, key=key) as client:

                async def ask(item: EvalItem) -> Answer:
                    body = replayed(item).body
                    if settings.logprobs:
                        body["logprobs"] = True  # no override: it changes no answer
                    return await client.complete(body)

                stage = f"{candidate.name} {eval_type}"
                predictions = await run_evaluation(
                    asked, ask, partial, settings.concurrency, progress, stage=stage
                )
        asking = round(
            time.monotonic() - clock, 3
        )  # metrics of the user's own may take longer than the model
        predictions, notes = await with_all_scores(items, predictions, config, store, partial, progress)
    published = _publish(store, name, partial)
    finished = datetime.now(UTC)
    evaluation = aggregate(
        items,
        predictions,
        eval_type=eval_type,
        model=endpoint.model,
        level=settings.confidence_level,
        overrides=summary_of_overrides(replayed(item).overrides for item in asked),
        predictions_uri=f"{published.uri}/{PREDICTIONS_FILE}",
        started_at=started.isoformat(),
        finished_at=finished.isoformat(),
        runtime_seconds=None if answered else asking,  # of what an earlier attempt asked it is not known
        primary=config.metrics_config.primary,
    )
    evaluation = msgspec.structs.replace(evaluation, answerer=answerer)
    notes = [*reuse_remarks(evaluation), *notes]
    if icl is None:
        return msgspec.structs.replace(evaluation, notes=notes)
    return msgspec.structs.replace(
        evaluation, in_context=icl.uri, notes=[*notes, *without_examples(icl.counts)]
    )


def _publish(store: DatasetStore, name: str, partial: Path) -> DatasetRef:
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    key = {"name": name, "content": digest}  # a resumed evaluation may have more answers
    found = store.find("predictions", key)
    if found is not None:
        return found
    with store.create("predictions", key) as staging:
        shutil.copyfile(partial, staging.path / PREDICTIONS_FILE)
    return staging.ref
