"""Asking a model the evaluation items and scoring what it answers."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.chat_client import ChatClient
from blocks.connections import open_dataset_store
from blocks.ports import DatasetRef, DatasetStore, Endpoint
from flywheel.candidates import content_hash
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.errors import DatasetError
from flywheel.evaluation.aggregate import aggregate
from flywheel.evaluation.replay import replay
from flywheel.evaluation.runner import run_evaluation
from flywheel.naming import slug
from flywheel.results import EvalItem, EvalType, Evaluation, Prediction
from tasks.curation import Reference
from tasks.progress import reporting
from tasks.retry_conditions import is_transient

ITEMS_FILE = "eval_data.jsonl"
PREDICTIONS_FILE = "predictions.jsonl"


@task(
    task_run_name="{eval_type} {candidate.name}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[5, 30],
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
    content = content_hash((icl or datasets).name, endpoint.model, settings.model_dump())
    name = f"{run_id}-{slug(candidate.name)}-{eval_type}-{content}"
    partial = store.scratch(name) / PREDICTIONS_FILE
    started, clock = datetime.now(UTC), time.monotonic()
    async with (
        reporting(f"{eval_type}-{candidate.name}") as progress,
        ChatClient(endpoint, settings) as client,
    ):
        overrides: dict[str, Any] = {}

        async def ask(item: EvalItem) -> Any:
            request = replay(item.request, endpoint.model, settings)
            overrides.update(request.overrides)
            return await client.complete(request.body)

        predictions = await run_evaluation(
            asked, ask, partial, settings.concurrency, progress, stage=f"{candidate.name} {eval_type}"
        )
    published = _publish(store, name, partial)
    finished = datetime.now(UTC)
    return aggregate(
        items,
        predictions,
        eval_type=eval_type,
        model=endpoint.model,
        level=settings.confidence_level,
        overrides=overrides,
        predictions_uri=f"{published.uri}/{PREDICTIONS_FILE}",
        started_at=started.isoformat(),
        finished_at=finished.isoformat(),
        runtime_seconds=round(time.monotonic() - clock, 3),
    )


def read_items(path: Path) -> list[EvalItem]:
    """The rows of an `eval_data.jsonl`. Raises DatasetError naming the line that is none."""
    decoder = msgspec.json.Decoder(EvalItem)
    items = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                items.append(decoder.decode(line))
            except msgspec.DecodeError as error:
                raise DatasetError(f"{path}, line {number} is no evaluation item: {error}") from error
    return items


def read_predictions(path: Path) -> dict[str, Prediction]:
    """The lines of a predictions file by item id."""
    decoder = msgspec.json.Decoder(Prediction)
    with path.open("rb") as lines:
        predictions = [decoder.decode(line) for line in lines]
    return {prediction.id: prediction for prediction in predictions}


def _publish(store: DatasetStore, name: str, partial: Path) -> DatasetRef:
    found = store.find("predictions", {"name": name})
    if found is not None:
        return found
    with store.create("predictions", {"name": name}) as staging:
        (staging.path / PREDICTIONS_FILE).write_bytes(partial.read_bytes())
    return staging.ref
