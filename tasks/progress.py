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

    def __init__(self, suffix: str, known_as: dict[str, str]) -> None:
        self._suffix = suffix
        self._known_as = known_as
        self._listener = listener()
        self.latest: tuple[str, int, int | None, str] | None = None
        self.cancelled = False

    def __call__(self, stage: str, done: int, total: int | None, detail: str = "") -> None:
        if self.cancelled:
            raise WorkCancelled(stage)
        for name, known_as in self._known_as.items():
            stage = stage.replace(name, known_as)
        stage += self._suffix
        self.latest = (stage, done, total, detail)
        self._listener(stage, done, total, detail)


@asynccontextmanager
async def reporting(
    name: str, of: str = "", known_as: dict[str, str] | None = None
) -> AsyncIterator[Progress]:
    """A `Progress` for the body of a task.

    Args:
        name: Of the work; the artifact's key is made from it.
        of: Put behind the name of each stage, to tell candidates apart.
        known_as: Names of remote things, and what people call them.

    Every report reaches this process's listener at once; the newest goes to a progress artifact with the key
    `progress-<name>` every few seconds, so that watching costs the same whatever the work reports.
    """
    relay = _Relay(f" {of}" if of else "", known_as or {})
    pump = asyncio.create_task(_pump(relay, f"progress-{slug(name)}"))
    try:
        yield relay
    finally:
        pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pump


async def in_thread(name: str, function: Callable[[Progress], T], of: str = "") -> T:
    """Run blocking work in a thread with progress; a cancelled task makes it stop at its next report."""
    async with reporting(name, of) as progress:
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
