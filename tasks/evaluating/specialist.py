"""A specialist evaluation set (`evaluation_config.extra_items`), asked after a candidate's own evaluation."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from blocks.connections import chat_key, open_dataset_store
from blocks.endpoints.chat_client import ChatClient
from blocks.ports import DatasetRef, DatasetStore, Endpoint
from flywheel.candidates import content_hash
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.errors import FlywheelError
from flywheel.evaluation.aggregate import scores_of
from flywheel.evaluation.files import read_items
from flywheel.evaluation.replay import replay
from flywheel.evaluation.runner import Answer, run_evaluation
from flywheel.evaluation.specialist import ITEMS_FILE, PREDICTIONS_FILE, PREFIX, not_learned
from flywheel.naming import slug
from flywheel.report.specialist_set import as_lines
from flywheel.results import EvalItem, Evaluation
from tasks.curating.curation import Reference
from tasks.evaluating.metrics import with_all_scores
from tasks.progress import reporting


def check_specialist_set(config: FlywheelConfig) -> None:
    """Read the file before anything is deployed. Raises ConfigError or DataError that names it."""
    if config.evaluation_config.extra_items:
        read_items(_path(config))


@task(task_run_name="specialist set {evaluation.eval_type} {candidate.name}", cache_policy=NO_CACHE)
async def ask_specialist_set(
    run_id: str,
    candidate: CandidateConfig,
    evaluation: Evaluation,
    endpoint: Endpoint,
    datasets: Reference,
    config: FlywheelConfig,
) -> Evaluation:
    """`evaluation` with the scores of the specialist set beside its own; as it was where there is none.

    A failure here is logged and costs these scores alone: the evaluation itself is done.
    """
    if not config.evaluation_config.extra_items:
        return evaluation
    try:
        return await _asked(run_id, candidate, evaluation, endpoint, datasets, config)
    except FlywheelError as error:
        get_run_logger().warning("The specialist set was not asked to its end: %s", error)
        return evaluation


async def _asked(
    run_id: str,
    candidate: CandidateConfig,
    evaluation: Evaluation,
    endpoint: Endpoint,
    datasets: Reference,
    config: FlywheelConfig,
) -> Evaluation:
    store = await open_dataset_store(config.connections)
    settings = config.evaluation_config
    offered = read_items(_path(config))
    items = not_learned(offered, _training_rows(store.open(datasets.ref) / "train"))
    if len(items) < len(offered):
        get_run_logger().warning(
            "%d of %d specialist items are near to training rows of this run and were left out.",
            len(offered) - len(items),
            len(offered),
        )
    if not items:
        return evaluation
    content = content_hash([msgspec.to_builtins(item) for item in items], endpoint.model)
    name = f"{run_id}-{slug(candidate.name)}-{evaluation.eval_type}-specialist-{content}"
    partial = store.scratch(name) / PREDICTIONS_FILE
    async with (
        reporting(f"specialist-{evaluation.eval_type}-{candidate.name}") as progress,
        ChatClient(endpoint, settings, key=await chat_key(config.connections)) as client,
    ):

        async def ask(item: EvalItem) -> Answer:
            return await client.complete(replay(item.request, endpoint.model, settings).body)

        stage = f"{candidate.name} {evaluation.eval_type} specialist"
        answers = await run_evaluation(items, ask, partial, settings.concurrency, progress, stage=stage)
        predictions, _ = await with_all_scores(items, answers, config, store, partial, progress)
    scores = scores_of(items, {p.id: p for p in predictions}, settings.confidence_level)
    return msgspec.structs.replace(
        evaluation,
        scores=evaluation.scores | {f"{PREFIX}{metric}": score for metric, score in scores.items()},
        specialist=_publish(store, name, items, partial).uri,
    )


def _publish(store: DatasetStore, name: str, items: list[EvalItem], partial: Path) -> DatasetRef:
    key = {"name": name, "content": content_hash(partial.read_bytes().hex())}
    found = store.find("specialist", key)
    if found is not None:
        return found
    with store.create("specialist", key) as staging:
        (staging.path / ITEMS_FILE).write_bytes(as_lines(items))
        shutil.copyfile(partial, staging.path / PREDICTIONS_FILE)
    return staging.ref


def _training_rows(folder: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name in ("training.jsonl", "validation.jsonl"):
        path = folder / name
        if path.is_file():
            with path.open("rb") as lines:
                rows += [msgspec.json.decode(line) for line in lines if line.strip()]
    return rows


def _path(config: FlywheelConfig) -> Path:
    return Path(config.evaluation_config.extra_items).expanduser()
