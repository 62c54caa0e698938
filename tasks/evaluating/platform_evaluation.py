"""Evaluations that the platform itself carries out, for those who set `evaluation_config.evaluator`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec

from blocks.connections import open_platform
from blocks.ports import Endpoint, EvaluationRequest, PlatformEvaluator
from flywheel.config import FlywheelConfig
from flywheel.errors import ConfigError
from flywheel.evaluation.aggregate import score_predictions
from flywheel.evaluation.predictions import answered_before, write_predictions
from flywheel.evaluation.replay import Replay, replay
from flywheel.evaluation.scoring import METRICS
from flywheel.progress import Progress
from flywheel.results import EvalItem, Prediction
from tasks.ledger import record, strike

LEDGER_KIND = "evaluation"


async def asked_by_platform(
    run_id: str,
    name: str,
    endpoint: Endpoint,
    items: Sequence[EvalItem],
    config: FlywheelConfig,
    file: Path,
    progress: Progress,
) -> list[Prediction]:
    """Have the platform ask the items; score the answers as all answers are scored, beside its own scores.

    A file that holds every answer already is taken as it is. In the ledger while the platform works.

    Raises: ConfigError where the platform cannot evaluate.
    """
    ids = {item.id for item in items}
    answers = answered_before(file, ids)
    if len(answers) < len(ids):
        platform = await evaluating_platform(config)
        await record(config, run_id, LEDGER_KIND, name)
        request = EvaluationRequest(name, endpoint, list(items), config.evaluation_config)
        answers = {answer.id: answer for answer in await platform.evaluate(request, progress)}
        await strike(config, LEDGER_KIND, name)
    predictions = [_with_scores_of(answers, scored) for scored in score_predictions(items, answers)]
    write_predictions(file, predictions)
    return predictions


async def evaluating_platform(config: FlywheelConfig) -> PlatformEvaluator:
    """The run's platform. Raises ConfigError where it cannot evaluate."""
    platform = await open_platform(config.connections)
    if not hasattr(platform, "evaluate"):
        raise ConfigError(
            f"evaluation_config.evaluator is {config.evaluation_config.evaluator!r}, but the platform "
            f"{config.connections.platform!r} does not evaluate; set it to 'flywheel'."
        )
    return cast("PlatformEvaluator", platform)


def replay_by_platform(
    item: EvalItem, endpoint: Endpoint, config: FlywheelConfig, platform: PlatformEvaluator
) -> Replay:
    """What reaches the model, with every field that the platform does not pass on among the overrides."""
    body, overrides = replay(item.request, endpoint.model, config.evaluation_config)
    lost = set(platform.not_sent(body))
    kept = {field: value for field, value in body.items() if field not in lost}
    return Replay(kept, {**overrides, **dict.fromkeys(sorted(lost))})


def _with_scores_of(answers: Mapping[str, Prediction], scored: Prediction) -> Prediction:
    answer = answers.get(scored.id)
    own = {name: value for name, value in answer.scores.items() if name not in METRICS} if answer else {}
    return msgspec.structs.replace(scored, scores={**scored.scores, **own})
