"""This run beside the runs before it, read from what they stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from blocks.ports import DatasetStore, RunStore
from blocks.run_evidence import ITEMS, stored, stored_file
from flywheel.errors import FlywheelError
from flywheel.evaluation.files import read_items
from flywheel.evaluation.predictions import answered_before
from flywheel.findings.analysis import Regression
from flywheel.history.regressions import (
    EarlierScore,
    best_before,
    digests_of,
    regression_of,
    scores_of_run,
)
from flywheel.results import RunResult
from flywheel.verdicts.contenders import Contender, ItemFrame

MOST_RUNS = 200
"""Runs looked through for the best score so far."""

Scores = Mapping[str, float | None]


class Before(NamedTuple):
    """Runs that a run is compared with: the last comparable one, and all among which the best so far is."""

    last: RunResult | None
    every: list[RunResult]


def runs_before(run: RunResult, runs: RunStore) -> Before:
    """What the history holds now."""
    last = runs.comparable_run(run)
    every = runs.list_runs(run.workload_id, run.client_id, MOST_RUNS)
    return Before(last, every if last is None else [*every, last])


def runs_compared_with(kept: Iterable[Regression], runs: RunStore) -> Before:
    """What the history held when these were found; a run that is gone since is left out."""
    last, every = None, []
    for name, against in sorted({(one.run_id, one.against) for one in kept}):
        with suppress(FlywheelError):
            every.append(runs.load_run(name))
            last = every[-1] if against == "last" else last
    return Before(last, every)


def regressions_of(
    run: RunResult,
    frame: ItemFrame,
    contenders: Mapping[tuple[str, str], tuple[Contender, Scores]],
    before: Before,
    store: DatasetStore,
    level: float,
    note: Callable[[str], None],
) -> list[Regression]:
    """Every evaluation against the same one of the last comparable run, and the best against the best so far.

    Args:
        contenders: By candidate and way: what is judged, and the main score of each item.
        note: Told of what could not be compared, and why.
    """
    last, by_id = before.last, {other.run_id: other for other in before.every}
    reading = _Reading(run, frame, by_id, store)
    found: list[Regression] = []

    def compare(key: tuple[str, str], against: str, other: EarlierScore) -> None:
        contender, now = contenders[key]
        try:
            shared, then = reading.shared(other.run_id), reading.scores(other, contender.primary)
        except FlywheelError as error:
            note(f"Run {other.run_id} cannot be compared with: {error}")
            return
        regression = regression_of(
            *key,
            contender.primary,
            "last" if against == "last" else "best",
            other.run_id,
            now,
            then,
            shared,
            level,
        )
        if regression is not None:
            found.append(regression)

    for key, (contender, _) in contenders.items():
        for other in scores_of_run(last, contender.primary) if last else ():
            if (other.candidate, other.eval_type) == key:
                compare(key, "last", other)
    best_now = _best(run)
    if best_now is not None and best_now in contenders:
        best = best_before(run, by_id.values(), contenders[best_now][0].primary)
        if best is not None:
            compare(best_now, "best", best)
    return found


class _Reading:
    """Reads earlier runs' files once each."""

    def __init__(
        self, run: RunResult, frame: ItemFrame, runs: Mapping[str, RunResult], store: DatasetStore
    ) -> None:
        self._run, self._frame, self._runs, self._store = run, frame, runs, store
        self._digests: dict[str, dict[str, bytes]] = {}

    def shared(self, run_id: str) -> ItemFrame:
        """The items that both runs asked alike."""
        now, then = self._of(self._run), self._of(self._runs[run_id])
        return self._frame.kept({name for name, digest in now.items() if then.get(name) == digest})

    def scores(self, other: EarlierScore, metric: str) -> Scores:
        path = stored_file(self._store, other.predictions)
        answers = answered_before(path, set(self._frame.ids))
        return {name: prediction.scores.get(metric) for name, prediction in answers.items()}

    def _of(self, run: RunResult) -> dict[str, bytes]:
        if run.run_id not in self._digests:
            items = read_items(stored(self._store, run.datasets.get("datasets", "")) / ITEMS)
            self._digests[run.run_id] = digests_of(items)
        return self._digests[run.run_id]


def _best(run: RunResult) -> tuple[str, str] | None:
    """The candidate and way with the run's highest main score."""
    scores = [
        (score.value, candidate.candidate, evaluation.eval_type)
        for candidate in run.candidates
        for evaluation in candidate.evaluations
        if evaluation.primary
        and (score := evaluation.scores.get(evaluation.primary))
        and score.value is not None
    ]
    return max(scores, key=lambda entry: entry[0])[1:] if scores else None
