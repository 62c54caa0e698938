"""The ledger of what exists elsewhere: written before it is asked for, struck off when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime

from blocks.connections import open_run_store
from blocks.ports import LedgerEntry
from flywheel.config import FlywheelConfig


async def record(config: FlywheelConfig, run_id: str, kind: str, name: str) -> None:
    """Write down what is about to be asked for on the run's platform."""
    entry = LedgerEntry(
        run_id=run_id,
        kind=kind,
        name=name,
        platform=config.connections.platform,
        created_at=datetime.now(UTC).isoformat(),
    )
    runs = await open_run_store(config.connections)
    with contextlib.closing(runs):
        await asyncio.to_thread(runs.record_resource, entry)


async def strike(config: FlywheelConfig, kind: str, name: str) -> None:
    """Strike off what is gone."""
    runs = await open_run_store(config.connections)
    with contextlib.closing(runs):
        await asyncio.to_thread(runs.strike_resource, kind, name)
