"""The scores of `flywheel score` beside the built-in ones: settings, the user's own metrics, a judge's verdicts."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flywheel.config import FlywheelConfig
    from flywheel.results import EvalItem, Prediction


def settings_of(arguments: argparse.Namespace) -> FlywheelConfig:
    """The settings given; nothing is demanded. Raises ConfigError."""
    from flywheel.overrides import load_config

    file = Path(arguments.config) if arguments.config else None
    nobody = {"workload_id": "any", "client_id": "any"}  # demanded of a run; this is none
    return load_config(file, arguments.sets, base=nobody)


def all_scores(
    items: Sequence[EvalItem],
    predictions: Sequence[Prediction],
    config: FlywheelConfig,
    verdicts: Path | None,
) -> tuple[list[Prediction], list[str]]:
    """Scored predictions with what the settings and a file of verdicts add, and what failed meanwhile."""
    from flywheel.judging.files import read_verdicts
    from flywheel.judging.judged import with_stored_verdicts

    warnings: list[str] = []
    embedder = config.icl_config.embedder
    if config.metrics_config.arguments or config.metrics_config.custom or embedder.base_url:
        from blocks.embedder import EndpointEmbedder
        from blocks.own_scores import with_own_scores
        from flywheel.progress import silent

        made = EndpointEmbedder(embedder) if embedder.base_url else None
        predictions, warnings = asyncio.run(
            with_own_scores(items, predictions, config.metrics_config, made, silent)
        )
    if verdicts is not None:
        predictions = with_stored_verdicts(items, predictions, read_verdicts(verdicts))
    return list(predictions), warnings
