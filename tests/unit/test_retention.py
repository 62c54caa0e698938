"""Which runs may go."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import ConfigError
from flywheel.results import RunResult
from flywheel.retention import expendable
from tests.contracts.run_store.cases import scored

DAYS = st.integers(1, 28)
RUNS = st.lists(
    st.builds(
        lambda name, day, value, eval_set, workload, status: scored(
            f"run-{name}", day, value, eval_set=eval_set, workload_id=workload, status=status
        ),
        st.integers(0, 999),
        DAYS,
        st.sampled_from([None, 0.0, 0.5, 0.75, 1.0]),
        st.sampled_from(["", "set-a", "set-b"]),
        st.sampled_from(["router", "faq"]),
        st.sampled_from(["completed", "partial", "failed", "cancelled", "running"]),
    ),
    unique_by=lambda run: run.run_id,
    max_size=20,
)


def best_of(runs: list[RunResult], like: RunResult) -> float | None:
    values = [
        score.value
        for run in runs
        if (run.workload_id, run.eval_set) == (like.workload_id, like.eval_set)
        if (score := run.candidates[0].evaluations[0].scores["exact_match"]).value is not None
    ]
    return max(values, default=None)


def last_before(runs: list[RunResult], this: RunResult) -> RunResult | None:
    earlier = [
        run
        for run in runs
        if (run.workload_id, run.eval_set) == (this.workload_id, this.eval_set)
        and run.started_at < this.started_at
        and run.status in ("completed", "partial")
    ]
    return max(earlier, key=lambda run: (run.started_at, run.run_id), default=None)


@given(runs=RUNS, keep=st.integers(0, 5), held=st.integers(0, 999))
def test_what_is_kept_finds_all_that_it_refers_to(runs: list[RunResult], keep: int, held: int) -> None:
    gone = set(expendable(runs, keep_newest=keep, allocated={f"run-{held}"}))
    left = [run for run in runs if run.run_id not in gone]
    for workload in ("router", "faq"):
        newest = sorted(
            (run for run in runs if run.workload_id == workload),
            key=lambda run: (run.started_at, run.run_id),
            reverse=True,
        )
        for run in newest[:keep]:
            assert run.run_id not in gone
            if run.eval_set:
                assert last_before(left, run) == last_before(runs, run)
                assert best_of(left, run) == best_of(runs, run)
    assert not [run for run in runs if run.run_id in gone and run.status == "running"]
    assert f"run-{held}" not in gone


@given(runs=RUNS, keep=st.integers(0, 5), day=DAYS, order=st.randoms())
def test_a_second_bound_only_keeps_more_and_the_order_of_input_does_not_matter(
    runs: list[RunResult], keep: int, day: int, order: object
) -> None:
    before = datetime(2025, 9, day, tzinfo=UTC)
    both = expendable(runs, keep_newest=keep, started_before=before)
    assert set(both) <= set(expendable(runs, keep_newest=keep))
    assert set(both) <= set(expendable(runs, started_before=before))
    shuffled = list(runs)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert expendable(shuffled, keep_newest=keep, started_before=before) == both


def test_a_run_that_stays_only_for_another_does_not_hold_more() -> None:
    runs = [scored(f"run-{day}", day, 0.5) for day in range(1, 6)]
    assert expendable(runs, keep_newest=1) == [
        "run-2",
        "run-3",
    ]  # 4 for 5; 1 was the first with the best score


@pytest.mark.parametrize("bounds", [{}, {"keep_newest": -1}])
def test_bounds_that_make_no_sense_are_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        expendable([], **bounds)
