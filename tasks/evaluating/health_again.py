"""The health of a run's judges, computed again from the verdicts that they left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from blocks.ports import DatasetStore, RunStore
from blocks.run_evidence import stored_file
from flywheel.config import FlywheelConfig
from flywheel.errors import ConfigError
from flywheel.findings.analysis import JudgeHealth
from flywheel.judging.files import read_labels, read_verdicts
from flywheel.judging.health import health_of, health_of_runs
from flywheel.judging.metrics import JudgeMetric
from flywheel.results import JudgeRun, RunResult


def health_again(
    run: RunResult, config: FlywheelConfig, store: DatasetStore, runs: RunStore
) -> list[JudgeHealth]:
    """Health of every judge of the run, in the order in which it is kept. No judge is asked, and no prompt is needed.

    What ratings by people added is taken over where their file is not there any more.

    Raises: DatasetError where stored verdicts are gone, DataError where they are damaged.
    """
    models = {candidate.candidate: candidate.model_name for candidate in run.candidates}
    found: list[JudgeHealth] = []
    for judged in runs.judge_runs(run.run_id):
        kept = health_of_runs([judged])
        if judged.verdicts is None:
            found += kept
            continue
        verdicts = read_verdicts(stored_file(store, judged.verdicts))
        metrics = _metrics(judged, kept)
        labels = _labels(config, metrics)
        for one, metric in zip(kept, metrics, strict=True):
            again = health_of(
                judged.judge,
                metric,
                verdicts,
                candidate=judged.candidate,
                eval_type=judged.eval_type,
                candidate_model=models.get(judged.candidate, ""),
                production_model=run.production_model,
                labels=labels,
                level=config.evaluation_config.confidence_level,
            )
            again = msgspec.structs.replace(
                again, tokens_in=one.tokens_in, tokens_out=one.tokens_out, cost=one.cost
            )
            found.append(again if labels is not None else _by_people_as_kept(again, one))
    return found


def _metrics(judged: JudgeRun, kept: Sequence[JudgeHealth]) -> list[JudgeMetric]:
    """The metrics with the scales that they had; what they were about stands in the verdicts."""
    scales: Mapping[str, tuple[int, int]] = judged.details.get("scales", {})
    return [
        JudgeMetric(one.metric, "", "", low, high, "all")
        for one in kept
        for low, high in [scales[one.metric]]
    ]


def _labels(config: FlywheelConfig, metrics: Sequence[JudgeMetric]) -> Mapping[tuple[str, str], int] | None:
    """Ratings by people; None where there is no such file any more."""
    file = config.judge_config.human_labels
    try:
        return read_labels(Path(file).expanduser(), metrics) if file else {}
    except ConfigError:
        return None


def _by_people_as_kept(again: JudgeHealth, kept: JudgeHealth) -> JudgeHealth:
    return msgspec.structs.replace(
        again,
        kappa=kept.kappa,
        kappa_n=kept.kappa_n,
        corrected=kept.corrected,
        corrected_interval=kept.corrected_interval,
    )
