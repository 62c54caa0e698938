"""Comparing what is trained on with what is served, before the time of a GPU is spent."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from blocks.ports import Platform
from flywheel.config import FlywheelConfig
from flywheel.errors import FlywheelError
from flywheel.evaluation.parity import ParityReport, compare_renderings
from flywheel.naming import slug_of
from flywheel.report.parity import parity_markdown, parity_words

SAMPLES = 5


async def report_parity(
    platform: Platform, model: str, train: Path, candidate: str, config: FlywheelConfig
) -> ParityReport | None:
    """Compare sample rows where the platform shows both renderings, and tell of a difference; None where it does not.

    It never stops a training: a difference is for a person to judge.
    """
    renderings = getattr(platform, "renderings", None)
    if renderings is None:
        return None
    try:
        report = compare_renderings(await renderings(model, sample_rows(train)))
    except FlywheelError as error:
        get_run_logger().warning("Training and serving prompts of %s were not compared: %s", candidate, error)
        return None
    (get_run_logger().info if report.equal else get_run_logger().warning)("%s", parity_words(report))
    await acreate_markdown_artifact(
        parity_markdown(report),
        key=f"parity-{slug_of(config.workload_id, config.client_id, candidate)}",
        description=f"Prompts of {candidate} in training and in serving",
    )
    return report


def sample_rows(train: Path) -> list[dict[str, Any]]:
    """The first training rows; rows stand in the order of their record ids, so they are no special ones."""
    with (train / "training.jsonl").open("rb") as lines:
        return [msgspec.json.decode(line, type=dict) for line in islice(lines, SAMPLES)]
