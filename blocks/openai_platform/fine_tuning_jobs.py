"""Fine-tuning jobs of an OpenAI-compatible provider: found by name or created, watched, cancelled.

A job is found by what was written into it: the metadata `flywheel`, and where a provider drops that, the suffix. So a
lost answer, a retry or a restart finds the job that is there and never trains twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from blocks.openai_platform.api import Api
from blocks.openai_platform.job_watch import WAITING, Patience, Watch
from flywheel.errors import (
    EndpointRefused,
    RemoteError,
    RemoteJobCancelled,
    RemoteJobFailed,
    RemoteJobTimedOut,
    RemoteRejected,
    TrainingOutOfTime,
    TransientRemoteError,
)
from flywheel.findings.loss_curve import merged
from flywheel.naming import slug
from flywheel.progress import Progress
from flywheel.results import LossPoint

JOBS = "/fine_tuning/jobs"
LONGEST_SUFFIX = 40
PAGE = 100
MOST_PAGES = 50
CREATIONS = 4
"""Tries to create a job; before each one, what is there is looked up."""

GOING = WAITING | {"running", "in_progress"}
DONE = frozenset({"succeeded", "completed"})
CANCELLED = frozenset({"cancelled", "canceled"})

Job = dict[str, Any]
logger = logging.getLogger(__name__)


class Ended(NamedTuple):
    """A job that succeeded, and its last metrics."""

    job: Job
    metrics: dict[str, float]
    seconds: float
    losses: list[LossPoint]


class FineTuningJobs:
    """The jobs of one service."""

    def __init__(self, api: Api, patience: Patience) -> None:
        self._api = api
        self._patience = patience

    async def find(self, name: str) -> Job | None:
        """The oldest job of that name that runs or has succeeded; None where there is none."""
        usable = [job for job in await self._named(name) if job.get("status") in GOING | DONE]
        return min(usable, key=lambda job: job.get("created_at") or 0) if usable else None

    async def find_or_create(self, name: str, body: Mapping[str, Any]) -> Job:
        """The job of that name; created where there is none that runs or has succeeded."""
        named = {**body, "suffix": slug(name, most=LONGEST_SUFFIX), "metadata": {"flywheel": name}}
        attempt, lost = 1, False
        while True:
            try:
                job = await self.find(name) or await self._api.create(JOBS, named)
            except TransientRemoteError:
                if attempt == CREATIONS:
                    raise
                lost = True
                await self._api.pause(attempt)
                attempt += 1
                continue
            return await self._the_only_one(name, job) if lost else job

    async def watch(self, name: str, job: Job, progress: Progress, max_hours: float | None = None) -> Ended:
        """Wait for the job's end, with progress.

        Args:
            max_hours: Longest time that the job may train, without the queue. A job that ends while it is being
                cancelled for that has ended as it did.

        Raises: TrainingOutOfTime, RemoteJobFailed, RemoteJobTimedOut, RemoteJobCancelled; EndpointRefused where we may
            not look any more.
        """
        identity = _id(job)
        stage = f"fine-tune {name}"
        watch = Watch(self._patience)
        if max_hours is not None:  # it may be adopted, with hours behind it
            with contextlib.suppress(TransientRemoteError):
                await self._read_events(identity, watch, pages=MOST_PAGES)
        while True:
            status = str(job.get("status"))
            if status in DONE:
                with contextlib.suppress(
                    TransientRemoteError
                ):  # it has trained; a curve is no reason to fail
                    await self._read_events(identity, watch, pages=MOST_PAGES)
                return Ended(job, watch.metrics, _seconds(job, watch), merged(watch.train, watch.validation))
            if status in CANCELLED:
                raise RemoteJobCancelled(
                    f"The fine-tune {name!r} ({identity}) was cancelled at the provider."
                )
            if status not in GOING:
                raise RemoteJobFailed(f"The fine-tune {name!r} ({identity}) failed: {_why(job)}")
            trouble: RemoteError | None = None
            try:
                await self._read_events(identity, watch)
            except TransientRemoteError as error:
                trouble = error
            watch.note(job)
            progress(stage, watch.done, watch.total, watch.words(status))
            if max_hours is not None and watch.seconds_of_training() >= max_hours * 3600:
                await self._stop_out_of_time(name, identity, max_hours, watch)
            if late := watch.too_late(status):
                await self.cancel(identity)
                raise RemoteJobTimedOut(f"The fine-tune {name!r} ({identity}) {late} and was cancelled.")
            await asyncio.sleep(self._patience.poll)
            try:
                job = await self._api.get(f"{JOBS}/{identity}")
            except EndpointRefused:
                raise
            except RemoteError as error:
                trouble = error  # one bad look is no end of the job; too many in a row are a stall
            if trouble is not None:
                logger.warning("The fine-tune %s could not be looked at: %s", identity, trouble)

    async def _stop_out_of_time(self, name: str, identity: str, max_hours: float, watch: Watch) -> None:
        """Cancel a job whose time is over; returns where it has ended by itself meanwhile.

        Raises: TrainingOutOfTime where it is seen cancelled, RemoteJobTimedOut where the provider does not confirm.
        """
        ended = await self.cancel(identity)
        reached = f"reached training_config.max_hours ({max_hours:g} h) at step {watch.done} of {watch.total or '?'}"
        if ended is None:
            raise RemoteJobTimedOut(
                f"The fine-tune {name!r} ({identity}) {reached}, and the provider does not confirm that it was "
                "cancelled; cancel it there."
            )
        if ended in CANCELLED:
            raise TrainingOutOfTime(
                f"The fine-tune {name!r} ({identity}) {reached} and was cancelled. Raise max_hours or train fewer "
                "epochs."
            )

    async def cancel(self, identity: str) -> str | None:
        """Ask the provider to stop, and see it stopped; the status at the end, None where it does not say."""
        with contextlib.suppress(RemoteRejected):  # it refuses where the job has ended by itself
            await self._api.tell(f"{JOBS}/{identity}/cancel", {})
        deadline = time.monotonic() + self._patience.cancelled
        while time.monotonic() < deadline:
            with contextlib.suppress(TransientRemoteError):
                status = str((await self._api.get(f"{JOBS}/{identity}")).get("status"))
                if status not in GOING:
                    return status
            await asyncio.sleep(min(1.0, self._patience.poll))
        logger.error(
            "The fine-tune %s was asked to stop and still runs; cancel it at the provider.", identity
        )
        return None

    async def cancel_named(self, name: str) -> None:
        """Stop every job of that name that runs."""
        for job in await self._named(name):
            if job.get("status") in GOING:
                await self.cancel(_id(job))

    async def _the_only_one(self, name: str, job: Job) -> Job:
        """After a lost answer two jobs may have come to be: keep the oldest."""
        first = await self.find(name) or job
        for other in await self._named(name):
            if _id(other) != _id(first) and other.get("status") in GOING:
                await self.cancel(_id(other))
        return first

    async def _named(self, name: str) -> list[Job]:
        found: list[Job] = []
        suffix = slug(name, most=LONGEST_SUFFIX)
        after: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            page = await self._api.get(JOBS, limit=PAGE, **after)
            jobs = [job for job in page.get("data") or () if isinstance(job, dict)]
            found += [job for job in jobs if _is_named(job, name, suffix)]
            if not page.get("has_more") or not jobs:
                break
            after = {"after": _id(jobs[-1])}
        return found

    async def _read_events(self, identity: str, watch: Watch, pages: int = 1) -> None:
        """The newest events, oldest first. A provider that has none is none the worse: its status decides."""
        found: list[Mapping[str, Any]] = []
        after: dict[str, str] = {}
        for _ in range(pages):
            try:
                page = await self._api.get(f"{JOBS}/{identity}/events", limit=PAGE, **after)
            except EndpointRefused as refusal:
                if "answered 404" not in str(refusal) and "answered 405" not in str(refusal):
                    raise
                break
            events = [event for event in page.get("data") or () if isinstance(event, Mapping)]
            found += events
            if not page.get("has_more") or not events or not events[-1].get("id"):
                break
            after = {"after": str(events[-1]["id"])}
        for event in reversed(found):
            watch.take(event)


def _is_named(job: Mapping[str, Any], name: str, suffix: str) -> bool:
    metadata = job.get("metadata")
    if isinstance(metadata, Mapping) and metadata.get("flywheel"):
        return bool(metadata["flywheel"] == name)
    return suffix in (job.get("user_provided_suffix"), job.get("suffix"))


def _id(job: Mapping[str, Any]) -> str:
    identity = job.get("id")
    if not isinstance(identity, str) or not identity:
        raise RemoteRejected(
            "The provider's fine-tuning job has no id; this service cannot be used to fine-tune."
        )
    return identity


def _why(job: Mapping[str, Any]) -> str:
    error = job.get("error")
    said = error.get("message") if isinstance(error, Mapping) else error
    return str(said) if said else f"its status is {job.get('status')!r}, and the provider gives no reason"


def _seconds(job: Mapping[str, Any], watch: Watch) -> float:
    begun, ended = job.get("created_at"), job.get("finished_at")
    if watch.started is not None:
        return time.monotonic() - watch.started
    return float(ended - begun) if isinstance(begun, int) and isinstance(ended, int) else 0.0
