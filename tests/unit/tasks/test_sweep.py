"""What a sweep makes of the history and the log."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import msgspec

from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.logs.file_log_store import FileLogStore
from blocks.ports import WorkloadSummary
from flywheel.config.sweep import SweepConfig
from flywheel.results import RunResult
from flywheel.scheduling.sweep_plan import Chosen
from tasks.sweep import Template, workload_as_found


def test_a_run_that_is_to_renew_its_set_keeps_the_single_settings_of_its_deployment() -> None:
    template, own = uuid4(), uuid4()
    overrides = {own: {"data_split_config.eval_size": 50}}
    deployments = Template(template, {"gpu_slots": 2}, {("w", "c"): own}, overrides)
    chosen = Chosen("w", "c", 10, 0.0, "tokens", stale="it moved", stale_from=0.3)
    renewing = {"history_config.renew_when_stale": True, "history_config.stale_from": 0.3}
    assert deployments.run_of(chosen) == (
        own,
        {"overrides": {"data_split_config.eval_size": 50, **renewing}},
    )
    other = msgspec.structs.replace(chosen, workload_id="x")
    settings = {"gpu_slots": 2, "workload_id": "x", "client_id": "c"}
    assert deployments.run_of(other) == (template, {"config": settings, "overrides": renewing})
    assert deployments.run_of(msgspec.structs.replace(chosen, stale="")) == (own, {})


def test_an_evaluation_is_as_old_as_the_log_that_it_was_of_whatever_was_done_again_since(
    tmp_path: Path,
) -> None:
    now = datetime.now(UTC)

    def days_ago(days: int) -> str:
        return (now - timedelta(days=days)).isoformat()

    record = {"workload_id": "w", "client_id": "c", "timestamp": days_ago(10), "request": {}, "response": {}}
    (tmp_path / "log.jsonl").write_text(json.dumps(record) + "\n")
    summary = WorkloadSummary("w", "c", 500, [], days_ago(60), days_ago(0), 0.0)
    with contextlib.closing(SqliteRunStore(tmp_path / "runs.sqlite")) as runs:
        runs.save_run(RunResult("first", "w", "c", "completed", days_ago(30), days_ago(30)))
        again = {"of_run": "first", "stages": ["judge"]}
        runs.save_run(RunResult("again", "w", "c", "completed", days_ago(1), days_ago(1), part=again))
        found = workload_as_found(summary, runs, FileLogStore(tmp_path), SweepConfig(fresh_days=7), set())

    assert found.evaluated_at == datetime.fromisoformat(days_ago(30))
    assert found.fresh == 1
