"""Progress of long tasks: to whoever listens in this process, and as a progress artifact of the task run."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.logging import get_run_logger

from flywheel.naming import slug
from flywheel.progress import Progress, listener

SECONDS_BETWEEN_UPDATES = 3.0
T = TypeVar("T")


class WorkCancelled(Exception):
    """Raised inside a thread, at its next report of progress, after its task was cancelled."""


class _Relay:
    """Takes reports from any thread; remembers the newest for the artifact."""

    def __init__(self) -> None:
        self._listener = listener()
        self.latest: tuple[str, int, int | None, str] | None = None
        self.cancelled = False

    def __call__(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        if self.cancelled:
            raise WorkCancelled(stage)
        self.latest = (stage, done, total, detail)
        self._listener(stage, done, total, detail)


@asynccontextmanager
async def reporting(name: str) -> AsyncIterator[Progress]:
    """A `Progress` for the body of a task.

    Every report reaches this process's listener at once; the newest goes to a progress artifact with the key
    `progress-<name>` every few seconds, so that watching costs the same whatever the work reports.
    """
    relay = _Relay()
    pump = asyncio.create_task(_pump(relay, f"progress-{slug(name)}"))
    try:
        yield relay
    finally:
        pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pump


async def in_thread(name: str, function: Callable[[Progress], T]) -> T:
    """Run blocking work in a thread with progress; a cancelled task makes it stop at its next report."""
    async with reporting(name) as progress:
        try:
            return await asyncio.to_thread(function, progress)
        except asyncio.CancelledError:
            assert isinstance(progress, _Relay)
            progress.cancelled = True
            raise


async def _pump(relay: _Relay, key: str) -> None:
    artifact: UUID | None = None
    shown: Any = None
    started = time.monotonic()
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_UPDATES)
        if relay.latest is None or relay.latest == shown:
            continue
        shown = relay.latest
        stage, done, total, detail = shown
        percent = 100.0 * done / total if total else 0.0
        text = (
            f"{stage}: {done}{f' of {total}' if total else ''}. {detail} ({time.monotonic() - started:.0f} s)"
        )
        try:
            if artifact is None:
                artifact = await acreate_progress_artifact(progress=percent, key=key, description=text)
            else:
                await aupdate_progress_artifact(artifact_id=artifact, progress=percent, description=text)
        except Exception as error:  # watching must never break the work: a server may be away for a while
            get_run_logger().debug("Progress artifact not updated: %s", error)
