"""Taking up where the last run began."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks.connections import open_run_store
from blocks.logs.log_query import query_of
from flywheel.config import CandidateConfig, ConnectionsConfig, FlywheelConfig, LogsConfig
from flywheel.results import RunResult, RunStatus
from tasks.curating.watermark import watermark

FIRST = datetime(2025, 6, 1, tzinfo=UTC)


def config_at(home: Path, **logs: object) -> FlywheelConfig:
    return FlywheelConfig(
        workload_id="router",
        client_id="acme",
        logs=LogsConfig(path="log", **logs),  # type: ignore[arg-type]
        candidates=[CandidateConfig(name="small", model="small")],
        connections=ConnectionsConfig(home=str(home)),
    )


async def keep(
    config: FlywheelConfig, run_id: str, day: int, status: RunStatus, client: str = "acme", **more: Any
) -> None:
    run = RunResult(
        run_id=run_id,
        workload_id="router",
        client_id=client,
        status=status,
        started_at=(FIRST + timedelta(days=day)).isoformat(),
        **more,
    )
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        runs.save_run(run)


async def test_a_run_reads_from_shortly_before_the_last_finished_one_began(tmp_path: Path) -> None:
    config = config_at(tmp_path, since_last_run=True, overlap_minutes=30)
    assert await watermark("now", config) is None, "without an earlier run everything is read"
    await keep(config, "first", 0, "completed")
    await keep(config, "second", 1, "partial")
    await keep(config, "broken", 2, "failed")
    await keep(config, "stopped", 3, "cancelled")
    await keep(config, "now", 4, "running")
    await keep(config, "of another", 5, "completed", client="other")
    await keep(config, "rerun", 6, "completed", part={"of_run": "second", "stages": ["judge"]})
    assert await watermark("now", config) == FIRST + timedelta(days=1) - timedelta(minutes=30)


async def test_it_is_not_looked_up_unless_asked_for(tmp_path: Path) -> None:
    config = config_at(tmp_path)
    await keep(config, "first", 0, "completed")
    assert await watermark("now", config) is None


@pytest.mark.parametrize(("day", "begins"), [(-1, 0), (1, 1)])
def test_the_later_of_watermark_and_setting_counts(tmp_path: Path, day: int, begins: int) -> None:
    config = config_at(tmp_path, since=FIRST.replace(tzinfo=None))
    since = query_of(config, FIRST + timedelta(days=day)).since
    assert since is not None
    assert since.replace(tzinfo=UTC) == FIRST + timedelta(days=begins)
