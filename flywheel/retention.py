"""Which runs may go when history is cut back: by age, by count, and never one that a kept run refers to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

import msgspec

from flywheel.errors import ConfigError
from flywheel.results import RunResult

SCORED = ("completed", "partial")
"""States of a run that later runs are compared with."""


class _Head(msgspec.Struct, frozen=True):
    run_id: str
    started_at: str
    status: str
    eval_set: str
    best: dict[str, float]

    @property
    def age(self) -> tuple[str, str]:
        return self.started_at, self.run_id


def expendable(
    runs: Iterable[RunResult],
    *,
    keep_newest: int | None = None,
    started_before: datetime | None = None,
    allocated: Collection[str] = (),
) -> list[str]:
    """Ids of the runs that may be removed, oldest first.

    Args:
        runs: All there are. They are looked at one after another and not held.
        keep_newest: This many of each workload and client stay.
        started_before: Runs that started then or later stay. With both bounds given, either is a reason to stay.
        allocated: Ids of runs that hold something on a platform.

    What stays whatever its age: a run that is running or holds something; the run that a kept one is compared with,
    which is the last before it over the same evaluation set; and the best scores on the evaluation set of a kept run.
    A run that stays only for such a reason does not hold others in turn.

    Raises: ConfigError where neither bound is given, or a bound makes no sense.
    """
    if keep_newest is None and started_before is None:
        raise ConfigError("Say what to keep: a number of runs, an age, or both.")
    if keep_newest is not None and keep_newest < 0:
        raise ConfigError(f"{keep_newest} runs cannot be kept; give 0 or more.")
    owners: dict[tuple[str, str], list[_Head]] = defaultdict(list)
    for run in runs:
        owners[run.workload_id, run.client_id].append(_head(run))
    going: list[_Head] = []
    for heads in owners.values():
        heads.sort(key=lambda head: head.age, reverse=True)
        kept = [
            head
            for place, head in enumerate(heads)
            if head.status == "running"
            or head.run_id in allocated
            or (keep_newest is not None and place < keep_newest)
            or (started_before is not None and _time(head.started_at) >= started_before)
        ]
        staying = {head.run_id for head in kept} | _referred_to(kept, heads)
        going += [head for head in heads if head.run_id not in staying]
    return [head.run_id for head in sorted(going, key=lambda head: head.age)]


def _referred_to(kept: list[_Head], newest_first: list[_Head]) -> set[str]:
    same_set: dict[str, list[_Head]] = defaultdict(list)
    for head in newest_first:
        if head.eval_set:
            same_set[head.eval_set].append(head)
    found = set()
    for eval_set in {head.eval_set for head in kept}:
        best: dict[str, tuple[float, str]] = {}
        for head in reversed(same_set[eval_set]):  # oldest first: the earlier one wins a tie
            for metric, value in head.best.items():
                if metric not in best or value > best[metric][0]:
                    best[metric] = (value, head.run_id)
        found |= {run_id for _, run_id in best.values()}
    for head in kept:
        earlier = (
            other
            for other in same_set[head.eval_set]
            if other.started_at < head.started_at and other.status in SCORED
        )
        if last := next(earlier, None):
            found.add(last.run_id)
    return found


def _head(run: RunResult) -> _Head:
    best: dict[str, float] = {}
    for candidate in run.candidates:
        for evaluation in candidate.evaluations:
            score = evaluation.scores.get(evaluation.primary) if evaluation.primary else None
            if evaluation.primary and score and score.value is not None and evaluation.error is None:
                best[evaluation.primary] = max(score.value, best.get(evaluation.primary, score.value))
    return _Head(run.run_id, run.started_at, run.status, run.eval_set, best)


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
