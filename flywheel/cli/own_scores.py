"""The scores of `flywheel score` beside the built-in ones: settings, the user's own metrics, a judge's verdicts."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        from blocks.endpoints.embedder import EndpointEmbedder
        from blocks.scoring.own_scores import with_own_scores
        from flywheel.progress import silent

        made = EndpointEmbedder(embedder) if embedder.base_url else None
        predictions, warnings = asyncio.run(
            with_own_scores(items, predictions, config.metrics_config, made, silent)
        )
    if verdicts is not None:
        predictions = with_stored_verdicts(items, predictions, read_verdicts(verdicts))
    return list(predictions), warnings


def health_of_judge(arguments: argparse.Namespace, config: FlywheelConfig) -> list[dict[str, Any]]:
    """How far the judge of `--verdicts` can be trusted, with the ratings of `--labels`; empty without verdicts.

    Raises: ConfigError, DataError.
    """
    from flywheel.errors import ConfigError
    from flywheel.judging.files import read_labels, read_verdicts
    from flywheel.judging.health import health_document, health_of
    from flywheel.judging.metrics import metrics_of

    if arguments.verdicts is None:
        if arguments.labels is not None:
            raise ConfigError(
                "--labels are ratings of what a judge rated; name its verdicts with --verdicts."
            )
        return []
    verdicts = read_verdicts(arguments.verdicts)
    rated = {verdict.metric for verdict in verdicts}
    known = metrics_of(config.judge_config, config.metrics_config.arguments)
    metrics = [metric for metric in known if metric.name in rated]
    labels = read_labels(arguments.labels, metrics) if arguments.labels else {}
    return health_document(
        health_of(
            config.judge_config.model or "judge",
            metric,
            verdicts,
            candidate="",
            eval_type="",
            candidate_model="",
            labels=labels,
            level=arguments.level,
        )
        for metric in metrics
    )


def health_text(health: dict[str, Any]) -> str:
    """One metric of a judge in a line."""
    parts = [f"judged {health['judged']}", f"parse failures {health['parse_failures']}"]
    if health["no_answer"]:
        parts.append(f"no answer {health['no_answer']}")
    if health["agreement"] is not None:
        parts.append(f"agrees with programs on {health['agreement']:.1%} of {health['agreement_n']}")
    if health["flip_rate"] is not None:
        parts.append(f"changes with the order in {health['flip_rate']:.1%} of {health['flip_n']}")
    if health["length_correlation"] is not None:
        parts.append(f"length correlation {health['length_correlation']:+.2f}")
    if health["kappa_n"]:
        kappa = "unknown" if health["kappa"] is None else f"{health['kappa']:.3f}"
        parts.append(f"kappa with people {kappa}, n = {health['kappa_n']}")
    if (bounds := health["corrected_interval"]) is not None:
        parts.append(f"corrected score {health['corrected']:.3f} [{bounds['low']:.3f}, {bounds['high']:.3f}]")
    return f"{health['metric']}: {'; '.join(parts)}"
