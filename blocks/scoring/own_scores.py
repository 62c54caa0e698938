"""Scores beside the built-in ones: rules for arguments, the user's own metrics, closeness of meaning."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from blocks.scoring.answer_tests import passes
from flywheel.config import ArgumentConfig, CustomMetricConfig, MetricsConfig
from flywheel.datasets.embedding import Embedder
from flywheel.errors import RemoteError, ScoringError
from flywheel.evaluation.custom_metrics import Tally, load_metrics, with_functions
from flywheel.evaluation.meaning import EMBEDDING_SIMILARITY, closeness_of, texts_of
from flywheel.evaluation.scoring import METRICS, scored, uses_tools
from flywheel.progress import Progress
from flywheel.results import EvalItem, Prediction


async def with_own_scores(
    items: Sequence[EvalItem],
    predictions: Sequence[Prediction],
    metrics: MetricsConfig,
    embedder: Embedder | None,
    progress: Progress,
) -> tuple[Sequence[Prediction], list[str]]:
    """`predictions` with all scores that the settings ask for, and a sentence for each metric that failed somewhere.

    A metric that fails on an answer leaves it unscored under that metric. Where the settings ask for nothing the
    predictions come back as they are.

    Args:
        items: The evaluation's items as they were logged, in any order.
        embedder: Makes vectors of answers; None: their meaning is not compared.
    """
    if not metrics.embedding_similarity:
        embedder = None
    if not (metrics.arguments or metrics.custom or embedder):
        return predictions, []
    by_id = {item.id: item for item in items}
    tools = uses_tools(items)
    functions = load_metrics(metrics.custom)
    tally = Tally()

    def computed() -> list[Prediction]:
        found = []
        for prediction in predictions:
            item = by_id[prediction.id]
            if metrics.arguments:
                prediction = _scored_again(item, prediction, tools, metrics.arguments)
            found.append(with_functions(item, prediction, functions, tally))
        return found

    result = await asyncio.to_thread(computed)
    for metric in metrics.custom:
        if metric.command:
            result = await _with_command(metric, by_id, result, metrics.command_concurrency, tally, progress)
    if embedder is not None:
        pairs = texts_of(by_id, result)
        try:
            result = await asyncio.to_thread(closeness_of, pairs, result, embedder, progress)
        except RemoteError as error:
            tally.note(EMBEDDING_SIMILARITY, "all", str(error))
            unscored: Mapping[str, float | None] = {EMBEDDING_SIMILARITY: None}
            result = [_with(p, unscored) if p.id in pairs.applies else p for p in result]
    return result, tally.sentences()


def _scored_again(
    item: EvalItem, prediction: Prediction, tools: bool, rules: Sequence[ArgumentConfig]
) -> Prediction:
    others = {name: value for name, value in prediction.scores.items() if name not in METRICS}
    return _with(scored(item, prediction, tools, rules), others)


async def _with_command(
    metric: CustomMetricConfig,
    items: Mapping[str, EvalItem],
    predictions: Sequence[Prediction],
    concurrency: int,
    tally: Tally,
    progress: Progress,
) -> list[Prediction]:
    slots = asyncio.Semaphore(concurrency)
    done = 0

    async def one(prediction: Prediction) -> Prediction:
        nonlocal done
        score = None
        if prediction.response is not None:
            async with slots:
                try:
                    score = await passes(
                        metric.command, items[prediction.id], prediction.response, metric.timeout_seconds
                    )
                except ScoringError as error:
                    tally.note(metric.name, prediction.id, str(error))
        done += 1
        progress(f"metric {metric.name}", done, len(predictions))
        return _with(prediction, {metric.name: score})

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(prediction)) for prediction in predictions]
    return [task.result() for task in tasks]


def _with(prediction: Prediction, scores: Mapping[str, float | None]) -> Prediction:
    return msgspec.structs.replace(prediction, scores={**prediction.scores, **scores})
