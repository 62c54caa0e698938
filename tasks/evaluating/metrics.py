"""The scores that the settings ask for beside the built-in ones, within a run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from prefect.logging import get_run_logger

from blocks.endpoints.embedder import stored_embedder
from blocks.ports import DatasetStore
from blocks.scoring.own_scores import with_own_scores
from flywheel.config import FlywheelConfig
from flywheel.evaluation.predictions import write_predictions
from flywheel.progress import Progress
from flywheel.results import EvalItem, Prediction


async def with_all_scores(
    items: Sequence[EvalItem],
    predictions: Sequence[Prediction],
    config: FlywheelConfig,
    store: DatasetStore,
    file: Path,
    progress: Progress,
) -> tuple[Sequence[Prediction], list[str]]:
    """`predictions` with every score that the settings ask for, left in `file` too, and sentences on what failed.

    Args:
        items: The evaluation's items as they were logged, in any order.
    """
    embedder = stored_embedder(config.icl_config.embedder, store)
    found, warnings = await with_own_scores(items, predictions, config.metrics_config, embedder, progress)
    for warning in warnings:
        get_run_logger().warning("%s", warning)
    if found is not predictions:
        await asyncio.to_thread(write_predictions, file, found)
    return found, warnings
