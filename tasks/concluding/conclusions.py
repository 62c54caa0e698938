"""What follows from a run's stored answers: verdicts, comparisons, ceilings, costs and regressions.

Everything is computed from files and from the run itself, so it can be drawn again at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from blocks.ports import DatasetStore, RunStore
from blocks.run_evidence import stored_file
from flywheel.config import FlywheelConfig
from flywheel.cost.costs import costs_of
from flywheel.cost.handing_back import HandingBack
from flywheel.cost.kpis import kpis_of
from flywheel.cost.prices import Call
from flywheel.cost.production import candidate_calls, production_calls
from flywheel.cost.traffic import Traffic, calls_for_each_read, traffic_of
from flywheel.errors import DataError
from flywheel.evaluation.files import read_items
from flywheel.evaluation.scoring import score_answer, uses_tools
from flywheel.evaluation.whole_conversations import Conversations
from flywheel.findings.analysis import Analysis, Costs, Holdout
from flywheel.findings.cascades import Cascade
from flywheel.history.memory import read_memory
from flywheel.results import EvalItem, RunResult
from flywheel.verdicts.cascade_cuts import Asked, cascades_of
from flywheel.verdicts.cascade_signals import request_lengths, routable
from flywheel.verdicts.ceilings import assumption_about, doubt_about, repeats_scored, standard_of
from flywheel.verdicts.comparisons import comparisons_of
from flywheel.verdicts.conclusion import conclusion_of
from flywheel.verdicts.contenders import ItemFrame, Standard, scores_by_metric, wrong_actions
from flywheel.verdicts.noninferiority import verdicts_of
from flywheel.verdicts.repeats import repeated_answers
from tasks.candidates.rerun import curated_by
from tasks.concluding.regressions import Before, regressions_of, runs_compared_with
from tasks.curating.curation import CuratedData
from tasks.evaluating.answers import Answers, read_predictions
from tasks.evaluating.health_again import health_again


def drawn_again(run: RunResult, store: DatasetStore, runs: RunStore) -> Analysis:
    """The conclusions of a run that has ended, from its stored files, under its own settings, beside the same runs.

    Two figures of the KPIs were measured while it ran, the time it took and the share of its log that names a
    workload; they are taken over.

    Raises: DataError where the run has no datasets or was not analysed, DatasetError where a file is missing.
    """
    kept = run.analysis
    if kept is None:
        raise DataError(f"Run {run.run_id} was not analysed; evaluate it again with --rerun.")
    config = FlywheelConfig.model_validate(run.config)
    before = runs_compared_with(kept.regressions, runs)
    again = Conclusions(run, config, curated_by(run), kept.replayed, store, before).drawn()
    kpis = msgspec.structs.replace(
        again.kpis,
        share_instrumented=kept.kpis.share_instrumented,
        turn_around_seconds=kept.kpis.turn_around_seconds,
    )
    health = health_again(run, config, store, runs)
    return msgspec.structs.replace(again, kpis=kpis, judge_health=health)


class Conclusions:
    """One analysis; what several parts need is read once."""

    def __init__(
        self,
        run: RunResult,
        config: FlywheelConfig,
        data: CuratedData,
        replayed: str | None,
        store: DatasetStore,
        before: Before,
    ) -> None:
        self._run, self._config, self._replayed = run, config, replayed
        self._store, self._before = store, before
        self._settings = config.analysis_config
        self._level = config.evaluation_config.confidence_level
        self._validated = store.open(data.validated.ref)
        self._items = read_items(store.open(data.datasets.ref) / "base" / "eval_data.jsonl")
        self._frame = ItemFrame.of(self._items, self._settings.weighting)
        self._lengths = request_lengths(self._items)
        rules = config.metrics_config.arguments
        self._conversations = Conversations(self._items, rules, self._level)
        self._history = data.history
        self._notes: list[str] = []

    def drawn(self) -> Analysis:
        """All of them."""
        production, times = production_calls(self._items, self._validated)
        traffic = self._traffic(times)
        answers = list(self._answers(production))
        costs = [self._costs(answer, production, traffic) for answer in answers]
        contenders = [
            answer.contender(cost, self._frame) for answer, cost in zip(answers, costs, strict=True)
        ]
        standards = {primary: self._standard(primary) for primary in {c.primary: None for c in contenders}}
        thresholds = self._settings.thresholds_for(self._run.workload_id)
        verdicts = [
            verdict
            for primary, standard in standards.items()
            for verdict in verdicts_of(
                [c for c in contenders if c.primary == primary], standard, thresholds, self._level
            )
        ]
        regressions = regressions_of(
            self._run,
            self._frame,
            {
                (c.candidate, c.eval_type): (c, answer.primary)
                for c, answer in zip(contenders, answers, strict=True)
            },
            self._before,
            self._store,
            self._level,
            self._notes.append,
        )
        evaluated = {answer.candidate.candidate for answer in answers}
        left = [c for c in self._run.candidates if c.candidate not in evaluated]
        failed = [c.candidate for c in left if c.status != "pending"]
        waiting = [c.candidate for c in left if c.status == "pending"]
        return Analysis(
            conclusion=conclusion_of(verdicts, costs, failed, waiting),
            verdicts=verdicts,
            comparisons=comparisons_of(contenders, self._level),
            ceilings=[standard.ceiling for standard in standards.values()],
            costs=costs,
            regressions=regressions,
            kpis=kpis_of(
                costs, verdicts, self._run.started_at, self._run.finished_at or datetime.now(UTC).isoformat()
            ),
            holdout=self._holdout(measured=bool(answers)),
            notes=self._notes,
            replayed=self._replayed,
            cascades=[
                cascade
                for answer in answers
                for cascade in self._cascades(
                    answer, production, traffic, standards[answer.evaluation.primary or ""], thresholds.margin
                )
            ],
            trajectories=[answer.trajectories for answer in answers if answer.trajectories is not None],
        )

    def _holdout(self, measured: bool) -> Holdout | None:
        """The kept evaluation set and its use, from what earlier runs left and what this one did, if anything."""
        history, settings = self._history, self._config.history_config
        if not settings.keep_evaluation_set or history.memory is None:
            return None
        before = None
        if not history.renewed:
            before = read_memory(self._store.open(history.memory.ref)).holdout
        fresh = len(history.fresh_ids)
        uses = (before.uses if before else 0) + measured
        if history.renewal_short is not None:
            why = "stale"
            if before is not None and before.uses >= settings.holdout_budget:
                why = (
                    f"worn out: {uses} runs were measured on it, and history_config.holdout_budget is "
                    f"{settings.holdout_budget}"
                )
            self._notes.append(
                f"The evaluation set is {why}. Only {history.renewal_short} records were seen by no run, too few for "
                "a new one; read newer logs."
            )
        if history.kept_near_trained:
            self._notes.append(
                f"{history.kept_near_trained} kept evaluation items turned out to be near to something that earlier "
                "runs trained on. It is held back from this one."
            )
        return Holdout(
            name=self._run.eval_set,
            items=len(self._frame.ids) - fresh,
            fresh_items=fresh,
            uses=uses,
            budget=settings.holdout_budget,
            renewed=history.renewed,
            not_in_log=history.not_in_log,
            held_back=history.held_back,
            since=before.since if before else self._run.started_at,
        )

    def _answers(self, production: Sequence[Call]) -> Iterable[Answers]:
        for candidate in self._run.candidates:
            for evaluation in candidate.evaluations:
                if evaluation.predictions is None or evaluation.primary is None:
                    continue
                who = f"{candidate.candidate}, {evaluation.eval_type}"
                self._notes += [f"{who}: {note}" for note in evaluation.notes]
                predictions = read_predictions(stored_file(self._store, evaluation.predictions))
                yield Answers(
                    candidate,
                    evaluation,
                    scores_by_metric(self._frame, predictions),
                    {p.id: p.scores.get(evaluation.primary) for p in predictions},
                    candidate_calls(predictions, evaluation.model, production),
                    wrong_actions(self._frame, predictions),
                    routable(self._frame, self._lengths, predictions, evaluation.primary),
                    self._conversations.scored(
                        candidate.candidate, evaluation.eval_type, predictions, evaluation.primary
                    ),
                )

    def _traffic(self, times: object) -> Traffic | None:
        import numpy as np

        assert isinstance(times, np.ndarray)
        logs = self._config.logs
        scale = calls_for_each_read(
            self._run.funnel, times.size, logs.traffic_share, newest=logs.sampling == "newest"
        )
        traffic = traffic_of(times, scale, self._level)
        if traffic is not None and traffic.interval is None:
            self._notes.append(
                f"The log spans {traffic.days:.1f} days; of less than two whole days no range of the traffic is known."
            )
        return traffic

    def _costs(self, answer: Answers, production: Sequence[Call], traffic: Traffic | None) -> Costs:
        return costs_of(
            answer.way, production, self._settings.prices, traffic, self._settings.currency, self._level
        )

    def _cascades(
        self,
        answer: Answers,
        production: Sequence[Call],
        traffic: Traffic | None,
        standard: Standard,
        margin: float,
    ) -> list[Cascade]:
        """What share of the traffic this way of answering could take, if the rest went back to production."""
        behind = HandingBack(answer.way, production, self._settings.prices, traffic)
        ids = answer.routable.ids
        asked = Asked(
            candidate=answer.candidate.candidate,
            eval_type=answer.evaluation.eval_type,
            metric=answer.evaluation.primary or "",
            target=max(0.0, standard.ceiling.value - margin),
            level=self._level,
        )
        return cascades_of(
            answer.routable,
            asked,
            lambda kept: behind.per_request(dict(zip(ids, kept, strict=True))),
        )

    def _standard(self, metric: str) -> Standard:
        """Production's agreement with itself under one metric."""
        replayed = None
        if self._replayed is not None:
            predictions = read_predictions(stored_file(self._store, self._replayed))
            replayed = scores_by_metric(self._frame, predictions).get(metric)
        tools, rules = uses_tools(self._items), self._config.metrics_config.arguments

        def agreement(item: EvalItem, response: object) -> float | None:
            assert isinstance(response, dict)
            return score_answer(item, response, tools, rules).get(metric)

        repeats = None if replayed else repeats_scored(repeated_answers(self._validated), agreement)
        standard = standard_of(metric, replayed, repeats, self._settings.min_repeats, self._level)
        endpoint = self._settings.production_endpoint
        if endpoint.base_url and self._replayed is None:
            self._notes.append(
                "analysis_config.production_endpoint did not answer (the run's log says why), so production was not "
                "asked again."
            )
        if doubt := doubt_about(standard.ceiling, endpoint.model, self._run.production_model or "unknown"):
            self._notes.append(doubt)
        if standard.ceiling.source == "assumed":
            self._notes.append(assumption_about(metric, repeats, self._config))
        return standard
