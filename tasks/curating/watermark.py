"""From when on a run reads its log."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta

from blocks.connections import open_run_store
from flywheel.config import FlywheelConfig


async def watermark(run_id: str, config: FlywheelConfig) -> datetime | None:
    """From when on a run reads that takes up where the last finished one began; reruns, which read no log, aside.

    It is that run's begin by our clock, not the newest time in its records: one record from a clock that is ahead
    would hide everything logged until then.
    """
    if not config.logs.since_last_run:
        return None
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        earlier = await asyncio.to_thread(runs.list_runs, config.workload_id, config.client_id, 1_000)
    begins = [
        datetime.fromisoformat(run.started_at)
        for run in earlier
        if run.run_id != run_id and run.status in ("completed", "partial") and not run.is_rerun
    ]
    overlap = timedelta(minutes=config.logs.overlap_minutes)
    return max(begins) - overlap if begins else None
