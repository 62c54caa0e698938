"""Asking the production model the evaluation items again: how far it agrees with itself."""

from __future__ import annotations

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from blocks.connections import open_dataset_store
from blocks.endpoints.chat_client import ChatClient
from blocks.ports import Endpoint
from flywheel.candidates import content_hash
from flywheel.config import FlywheelConfig
from flywheel.errors import FlywheelError
from flywheel.evaluation.files import read_items
from flywheel.evaluation.replay import replay
from flywheel.evaluation.runner import Answer, run_evaluation
from flywheel.results import EvalItem
from tasks.curating.curation import CuratedData
from tasks.evaluating.judging import publish_file
from tasks.evaluating.metrics import with_all_scores
from tasks.progress import reporting


@task(task_run_name="production asked again", cache_policy=NO_CACHE)
async def ask_production_again(run_id: str, config: FlywheelConfig, data: CuratedData) -> str | None:
    """Ask `analysis_config.production_endpoint` every item; the predictions file, None where there is no endpoint.

    None as well where it does not answer: the ceiling is then taken from the log, and the warning says why. Answers
    are kept as they come; a run that is resumed asks for what is missing.
    """
    where = config.analysis_config.production_endpoint
    if not where.base_url:
        return None
    endpoint = Endpoint(base_url=where.base_url, model=where.model, api_key_env=where.api_key_env or None)
    settings = config.evaluation_config
    store = await open_dataset_store(config.connections)
    items = read_items(store.open(data.datasets.ref) / "base" / "eval_data.jsonl")
    name = f"{run_id}-production-{content_hash(data.datasets.name, where.model)}"
    partial = store.scratch(name) / "predictions.jsonl"
    try:
        async with (
            reporting("production") as progress,
            ChatClient(endpoint, settings, key=None) as client,
        ):

            async def ask(item: EvalItem) -> Answer:
                return await client.complete(replay(item.request, endpoint.model, settings).body)

            answers = await run_evaluation(
                items, ask, partial, settings.concurrency, progress, stage="production"
            )
            # Candidates are held against these, so they are scored by the same rules and metrics.
            await with_all_scores(items, answers, config, store, partial, progress)
    except FlywheelError as error:
        get_run_logger().warning("The production model could not be asked again: %s", error)
        return None
    return f"{publish_file(store, 'predictions', name, Path(partial)).uri}/{partial.name}"
