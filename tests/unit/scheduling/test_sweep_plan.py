"""Which workloads a sweep runs, in what order, and why not the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from flywheel.config.sweep import SweepConfig
from flywheel.report.sweep import coverage_sentence, sweep_rows
from flywheel.scheduling.sweep_plan import Workload, coverage_of, plan_sweep

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SETTINGS = SweepConfig(min_fresh_records=100, fresh_days=7)


def workload(name: str | None, client: str | None = "c", fresh: int = 500, **more: object) -> Workload:
    return Workload(name, client, records=1_000, fresh=fresh, **more)  # type: ignore[arg-type]


WORKLOADS = st.builds(
    Workload,
    workload_id=st.none() | st.sampled_from("abcdefgh"),
    client_id=st.none() | st.sampled_from("xy"),
    records=st.integers(0, 10_000),
    fresh=st.integers(0, 300),
    evaluated_at=st.none() | st.integers(0, 30).map(lambda days: NOW - timedelta(days=days)),
    under_way=st.booleans(),
    savings=st.none() | st.floats(-100, 1e6),
    tokens_per_month=st.none() | st.floats(0, 1e9),
    price_per_1k=st.none() | st.floats(0, 1),
)


@given(st.lists(WORKLOADS, max_size=20, unique_by=lambda w: (w.workload_id, w.client_id)))
def test_every_workload_is_chosen_or_skipped_with_a_reason(workloads: list[Workload]) -> None:
    plan = plan_sweep(workloads, SETTINGS, NOW, excluded=["h"])
    names = [(c.workload_id, c.client_id) for c in plan.chosen]
    names += [(s.workload_id, s.client_id) for s in plan.skipped]
    assert sorted(map(str, names)) == sorted(str((w.workload_id, w.client_id)) for w in workloads)
    assert all(skipped.why.endswith((".", ")")) for skipped in plan.skipped)
    assert not {c.workload_id for c in plan.chosen} & {None, "h"}
    assert len(sweep_rows(plan, {})) == len(workloads)


@given(st.lists(WORKLOADS, max_size=20, unique_by=lambda w: (w.workload_id, w.client_id)), st.randoms())
def test_the_order_in_which_workloads_are_found_changes_nothing(
    workloads: list[Workload], random: object
) -> None:
    shuffled = list(workloads)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    settings = SweepConfig(most_runs=3)
    assert plan_sweep(shuffled, settings, NOW).chosen == plan_sweep(workloads, settings, NOW).chosen


def test_each_reason_to_skip_comes_with_its_numbers() -> None:
    plan = plan_sweep(
        [
            workload(None),
            workload("nobody", None),
            workload("excluded"),
            workload("busy", under_way=True),
            workload("fresh", evaluated_at=NOW - timedelta(days=2)),
            workload("few", fresh=99),
            workload("few since", fresh=3, evaluated_at=NOW - timedelta(days=9)),
        ],
        SETTINGS,
        NOW,
        excluded=["excluded"],
    )
    assert plan.chosen == []
    assert {skipped.workload_id: skipped.reason for skipped in plan.skipped} == {
        None: "no_workload_id",
        "nobody": "no_client_id",
        "excluded": "excluded",
        "busy": "under_way",
        "fresh": "still_fresh",
        "few": "too_few_records",
        "few since": "too_few_records",
    }
    why = {skipped.workload_id: skipped.why for skipped in plan.skipped}
    assert "2.0 days old" in why["fresh"]
    assert "99 records in the log" in why["few"]
    assert "3 records since its last run" in why["few since"]


def test_a_stale_evaluation_set_is_a_reason_for_a_run_and_the_table_says_so() -> None:
    yesterday = NOW - timedelta(days=1)
    fresh = workload("fresh", evaluated_at=yesterday)
    stale = workload(
        "stale", fresh=0, evaluated_at=yesterday, stale="90% of the answers since are of other kinds"
    )
    busy = workload("busy", stale="it moved", under_way=True)
    plan = plan_sweep([fresh, stale, busy], SETTINGS, NOW)
    assert [chosen.workload_id for chosen in plan.chosen] == ["stale"]
    assert {(s.workload_id, s.reason) for s in plan.skipped} == {
        ("fresh", "still_fresh"),
        ("busy", "under_way"),
    }
    [row, *_] = sweep_rows(plan, {})
    assert row["what"] == (
        "would start; its evaluation set is stale because 90% of the answers since are of other kinds"
    )


def test_the_highest_expected_savings_go_first_and_the_rest_waits_for_the_next_sweep() -> None:
    plan = plan_sweep(
        [
            workload("small", tokens_per_month=1e6),  # 1,000 thousands at the known price of 0.01: 10 a month
            workload("known", savings=5_000.0, price_per_1k=0.01),
            workload("large", tokens_per_month=1e9),
        ],
        SweepConfig(most_runs=2),
        NOW,
    )
    assert [(c.workload_id, c.basis) for c in plan.chosen] == [
        ("large", "cost of production"),
        ("known", "last run"),
    ]
    assert plan.chosen[0].expected == 10_000
    assert [(s.workload_id, s.reason) for s in plan.skipped] == [("small", "most_runs")]


def test_coverage_counts_calls_and_workloads() -> None:
    coverage = coverage_of([workload("a", evaluated_at=NOW), workload("b"), workload(None)])
    assert coverage.traffic_share == 2 / 3
    assert coverage.evaluated_share == 1 / 2
    assert "66.7% of the traffic" in coverage_sentence(coverage)
    assert coverage_of([]).traffic_share is None


def test_names_from_the_log_cannot_break_the_table() -> None:
    [row] = sweep_rows(plan_sweep([workload("a\x1b[31m\nb")], SETTINGS, NOW), {})
    assert row["workload"].isprintable()
