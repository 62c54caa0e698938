"""A judge's verdicts on the answers of a candidate, after they were given: evaluation by evaluation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from blocks.connections import chat_key, open_dataset_store, open_run_store
from blocks.ports import DatasetRef, DatasetStore, Endpoint
from blocks.scoring.judge import Judge, rate
from blocks.scoring.judge_cache import JudgeCache
from blocks.scoring.judge_connection import JudgeConnection, judge_name, open_judge
from flywheel.candidates import content_hash
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.cost.prices import price_of
from flywheel.errors import ConfigError, FlywheelError
from flywheel.evaluation.custom_metrics import load_metrics
from flywheel.evaluation.files import read_items
from flywheel.evaluation.meaning import EMBEDDING_SIMILARITY
from flywheel.evaluation.predictions import write_predictions
from flywheel.evaluation.scoring import METRICS
from flywheel.findings.analysis import JudgeHealth
from flywheel.judging.files import SHEET_FILE, VERDICTS_FILE, read_labels, write_sheet, write_verdicts
from flywheel.judging.health import (
    HEALTH,
    health_document,
    health_of,
    health_of_runs,
    with_earlier_use,
    with_use,
)
from flywheel.judging.judged import judged_evaluation, judged_predictions
from flywheel.judging.metrics import JudgeMetric, metrics_of
from flywheel.judging.questions import JudgeVerdict, questions_for
from flywheel.judging.token_use import TokenUse
from flywheel.naming import slug
from flywheel.progress import Progress
from flywheel.results import CandidateResult, EvalItem, Evaluation, JudgeRun, Prediction
from tasks.candidates.allowance import pay_judge
from tasks.curating.curation import Reference
from tasks.evaluating.platform_evaluation import evaluating_platform
from tasks.progress import reporting

CACHE = "judge-verdicts"
PREDICTIONS_FILE = "predictions.jsonl"


@task(task_run_name="judge {candidate.name}", cache_policy=NO_CACHE)
async def judge_candidate(
    run_id: str,
    candidate: CandidateConfig,
    result: CandidateResult,
    datasets: Reference,
    endpoint: Endpoint | None,
    config: FlywheelConfig,
) -> CandidateResult:
    """Have the answers of each evaluation rated, and put the scores beside the others.

    A judge that fails leaves the programs' scores as they are and the items unscored under its own metrics; the
    candidate is then partial, so that a resumed run judges again. What was rated once is not asked again.

    Args:
        endpoint: Where the run's platform deployed the judge, None where it did not have to.
    """
    deployed = JudgeConnection(endpoint, await chat_key(config.connections)) if endpoint else None
    judge = await open_judge(config.judge_config, deployed)
    store = await open_dataset_store(config.connections)
    work = _Judging(run_id, candidate, judge, store, config)
    work.items = await asyncio.to_thread(
        lambda: list(read_items(store.open(datasets.ref) / "base" / "eval_data.jsonl"))
    )
    evaluations, errors = [], []
    async with reporting(f"judge-{candidate.name}") as progress, judge:
        for evaluation in result.evaluations:
            if evaluation.predictions is None:
                evaluations.append(evaluation)
                continue
            judged, run, use = await work.evaluation(evaluation, progress)
            evaluations.append(judged)
            await _keep(config, run)
            await pay_judge(run_id, config, candidate, run.judge, use)
            if run.error:
                get_run_logger().warning("%s of %s: %s", evaluation.eval_type, candidate.name, run.error)
                errors.append(f"the judge did not get through {evaluation.eval_type}: {run.error}")
    result = msgspec.structs.replace(result, evaluations=evaluations)
    if errors and result.status == "completed":
        result = msgspec.structs.replace(result, status="partial", error=errors[0])
    return result


@task(task_run_name="check judge and metrics", cache_policy=NO_CACHE)
async def check_judge_and_metrics(config: FlywheelConfig) -> None:
    """See that every file, function and score that the settings name is there, before anything is spent.

    Raises: ConfigError, DataError.
    """
    load_metrics(config.metrics_config.custom)
    if config.evaluation_config.evaluator != "flywheel":
        await evaluating_platform(config)
    judge = config.judge_config
    metrics = metrics_of(judge, config.metrics_config.arguments) if judge.enabled else []
    own = {metric.name for metric in config.metrics_config.custom}
    require_scores(config, [metric.name for metric in metrics])
    if not judge.enabled:
        return
    if taken := sorted(own & {metric.name for metric in metrics}):
        raise ConfigError(f"A custom metric and one of the judge are both named {taken[0]!r}; rename yours.")
    if judge.human_labels:
        read_labels(Path(judge.human_labels).expanduser(), metrics)
    if not judge.deployed:
        await open_judge(judge)


def require_scores(config: FlywheelConfig, judged: Sequence[str]) -> None:
    """Raises: ConfigError where a score that verdicts shall go by is none that these settings compute."""
    metrics = config.metrics_config
    names = [*METRICS, *(metric.name for metric in metrics.custom), *judged]
    if config.icl_config.embedder.base_url and metrics.embedding_similarity:
        names.append(EMBEDDING_SIMILARITY)
    named = dict.fromkeys(config.analysis_config.thresholds_for(config.workload_id).min_score, "min_score")
    if metrics.primary:
        named[metrics.primary] = "metrics_config.primary"
    by_platform = config.evaluation_config.evaluator == "nemo"
    for name, setting in named.items():
        if name not in names and not (by_platform and name.startswith("nemo_")):
            raise ConfigError(
                f"{setting} names {name!r}, which these settings do not score; name one of {', '.join(names)}, or "
                "leave it out."
            )


async def judge_health(run_id: str, config: FlywheelConfig) -> list[JudgeHealth]:
    """Health of every judge of a run under each metric and evaluation, oldest first; empty without a judge."""
    runs = await open_run_store(config.connections)
    with contextlib.closing(runs):
        return health_of_runs(await asyncio.to_thread(runs.judge_runs, run_id))


class _Judging:
    """What the evaluations of one candidate share."""

    def __init__(
        self,
        run_id: str,
        candidate: CandidateConfig,
        judge: Judge,
        store: DatasetStore,
        config: FlywheelConfig,
    ) -> None:
        self._run_id, self._candidate, self._judge = run_id, candidate, judge
        self._store, self._config = store, config
        self._metrics = metrics_of(config.judge_config, config.metrics_config.arguments)
        labels = config.judge_config.human_labels
        self._labels = read_labels(Path(labels).expanduser(), self._metrics) if labels else {}
        self.items: list[EvalItem] = []

    async def evaluation(
        self, evaluation: Evaluation, progress: Progress
    ) -> tuple[Evaluation, JudgeRun, TokenUse]:
        settings = self._config.judge_config
        predictions = await asyncio.to_thread(_predictions, self._store, evaluation.predictions or "")
        questions, settled = questions_for(self.items, predictions, self._metrics, settings.position_probe)
        cache = JudgeCache(self._store.scratch(CACHE))
        error = None
        asked: list[JudgeVerdict] = []
        before = dict(self._judge.used)
        stage = f"judge {self._candidate.name} {evaluation.eval_type}"
        try:
            asked = await rate(questions, self._judge, cache, settings, progress, stage)
        except FlywheelError as failure:
            error = str(failure)
            asked = [question.verdict("no_verdict", reason=error) for question in questions]
        verdicts = _in_order(self.items, self._metrics, asked + settled)
        judged = await asyncio.to_thread(self._published, evaluation, predictions, verdicts)
        uri = await asyncio.to_thread(self._publish_verdicts, evaluation, verdicts)
        used = {name: total - before.get(name, TokenUse()) for name, total in self._judge.used.items()}
        run = self._judge_run(evaluation, judged, verdicts, uri, error, used)
        return judged, run, sum(used.values(), TokenUse())

    def _published(
        self, evaluation: Evaluation, predictions: dict[str, Prediction], verdicts: Sequence[JudgeVerdict]
    ) -> Evaluation:
        scored = judged_predictions(self.items, predictions, self._metrics, verdicts)
        partial = self._store.scratch(self._name(evaluation)) / PREDICTIONS_FILE
        write_predictions(partial, scored)
        reference = publish_file(self._store, "predictions", self._name(evaluation), partial)
        return judged_evaluation(
            evaluation,
            self.items,
            scored,
            f"{reference.uri}/{PREDICTIONS_FILE}",
            self._config.metrics_config.primary,
            self._config.evaluation_config.confidence_level,
        )

    def _publish_verdicts(self, evaluation: Evaluation, verdicts: Sequence[JudgeVerdict]) -> str:
        content = content_hash(list(verdicts))
        key = {"name": self._name(evaluation), "content": content}
        found = self._store.find("verdicts", key)
        if found is None:
            with self._store.create("verdicts", key) as staging:
                write_verdicts(staging.path / VERDICTS_FILE, verdicts)
                write_sheet(staging.path / SHEET_FILE, verdicts, self._metrics)
                staging.counts = {"verdicts": len(verdicts)}
            found = staging.ref
        return f"{found.uri}/{VERDICTS_FILE}"

    def _judge_run(
        self,
        evaluation: Evaluation,
        judged: Evaluation,
        verdicts: Sequence[JudgeVerdict],
        uri: str,
        error: str | None,
        used: dict[str, TokenUse],
    ) -> JudgeRun:
        name = judge_name(self._judge)
        price = price_of(self._config.analysis_config.prices, [name])
        production = ", ".join(sorted({str(m) for item in self.items if (m := item.response.get("model"))}))
        health = [
            health_of(
                name,
                metric,
                verdicts,
                candidate=self._candidate.name,
                eval_type=evaluation.eval_type,
                candidate_model=self._candidate.model,
                production_model=production or None,
                labels=self._labels,
                level=self._config.evaluation_config.confidence_level,
            )
            for metric in self._metrics
        ]
        health = [with_use(one, used.get(one.metric, TokenUse()), price) for one in health]
        return JudgeRun(
            id=f"{self._run_id}-{slug(self._candidate.name)}-{evaluation.eval_type}-{slug(name)}",
            run_id=self._run_id,
            candidate=self._candidate.name,
            eval_type=evaluation.eval_type,
            judge=name,
            created_at=datetime.now(UTC).isoformat(),
            scores={m.name: judged.scores[m.name] for m in self._metrics if m.name in judged.scores},
            verdicts=uri,
            details={
                HEALTH: health_document(health),
                "scales": {metric.name: [metric.low, metric.high] for metric in self._metrics},
                "prompts": {m.name: content_hash(m.system, m.user) for m in self._metrics},
                "settled": sum(verdict.outcome == "settled" for verdict in verdicts),
            },
            error=error,
        )

    def _name(self, evaluation: Evaluation) -> str:
        return f"{self._run_id}-{slug(self._candidate.name)}-{evaluation.eval_type}-judged"


def publish_file(store: DatasetStore, kind: str, name: str, file: Path) -> DatasetRef:
    """A file as a dataset of its own, found again if the same content is there under that name."""
    content = file.read_bytes()
    key = {"name": name, "content": sha256(content).hexdigest()}
    found = store.find(kind, key)
    if found is not None:
        return found
    with store.create(kind, key) as staging:
        (staging.path / file.name).write_bytes(content)
    return staging.ref


def _predictions(store: DatasetStore, uri: str) -> dict[str, Prediction]:
    """Every stored prediction of an evaluation by item, errors too."""
    folder, _, file = uri.rpartition("/")
    path = store.open(DatasetRef(name=folder.rpartition("/")[2], uri=folder)) / file
    decoder = msgspec.json.Decoder(Prediction)
    with path.open("rb") as lines:
        return {prediction.id: prediction for prediction in map(decoder.decode, lines)}


def _in_order(
    items: Sequence[EvalItem], metrics: Sequence[JudgeMetric], verdicts: Sequence[JudgeVerdict]
) -> list[JudgeVerdict]:
    places = {item.id: position for position, item in enumerate(items)}
    names = {metric.name: position for position, metric in enumerate(metrics)}
    return sorted(verdicts, key=lambda verdict: (places[verdict.id], names[verdict.metric]))


async def _keep(config: FlywheelConfig, run: JudgeRun) -> None:
    runs = await open_run_store(config.connections)
    with contextlib.closing(runs):
        await asyncio.to_thread(
            lambda: runs.save_judge_run(with_earlier_use(run, runs.judge_runs(run.run_id)))
        )
