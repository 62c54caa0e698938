"""What is said of fine-tunes before they start: settings that their platform cannot meet, bounds that look short."""

from __future__ import annotations

import asyncio
import contextlib

from prefect.logging import get_run_logger

from blocks.connections import open_platform, open_run_store
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.errors import ConfigError
from flywheel.scheduling.expected_length import seconds_of_training

RUNS_LOOKED_THROUGH = 5
FAR_BEYOND = 2.0
"""Times the bound: the estimate may be wrong by as much."""


async def check_fine_tunes(config: FlywheelConfig) -> None:
    """Raises ConfigError where epochs are to be compared by their answers on a platform that cannot do it."""
    asking = [
        candidate
        for candidate in config.candidates
        if candidate.customize and config.training_for(candidate).keep == "best_score"
    ]
    if asking and not getattr(await open_platform(config.connections), "scores_epochs", False):
        raise ConfigError(
            f"training_config.keep is 'best_score' for {asking[0].name!r}, and the platform "
            f"{config.connections.platform!r} trains where Flywheel cannot ask a model between two epochs. Set it to "
            "'last' or 'best', or train on this machine: connections.platform 'local' or 'vllm'."
        )


async def warn_of_short_bound(config: FlywheelConfig, candidate: CandidateConfig, rows: int) -> None:
    """Log where the fine-tune looks far longer than the bound of its settings; it starts all the same.

    Args:
        rows: Training rows of one epoch.
    """
    training = config.training_for(candidate)
    if training.max_hours is None:
        return
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        earlier = await asyncio.to_thread(
            runs.list_runs, config.workload_id, config.client_id, RUNS_LOOKED_THROUGH
        )
    hours = seconds_of_training(candidate, rows, training.epochs, earlier) / 3600
    if hours > FAR_BEYOND * training.max_hours:
        get_run_logger().warning(
            "The fine-tune of %s may take about %.3g hours for %d rows and %d epochs, and training_config.max_hours is "
            "%g: it will probably be cut. Raise the bound, or train fewer epochs or rows.",
            candidate.name,
            hours,
            rows,
            training.epochs,
            training.max_hours,
        )
