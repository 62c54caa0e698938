"""The Evaluator: jobs found by their tag before they are created, watched, their per-item results downloaded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from blocks.nemo.connection import Waits
from blocks.nemo.customization_jobs import FINISHED
from blocks.nemo.entity_store import TAG
from blocks.nemo.http import Service
from blocks.nemo.tagged_jobs import attempts_at, running_work
from blocks.nemo.waiting import Patience, looked_at, until_gone
from flywheel.errors import (
    RemoteError,
    RemoteJobCancelled,
    RemoteJobFailed,
    RemoteJobTimedOut,
    TransientRemoteError,
)
from flywheel.progress import Progress

JOBS = "/v1/evaluation/jobs"
LOOKS_FOR_A_LOST_JOB = 4
NO_CANCEL = frozenset({400, 404, 405, 409, 422, 500, 501})
SECONDS_FOR_RESULTS = 600.0


class Evaluator:
    """Jobs of one namespace."""

    def __init__(self, service: Service, namespace: str, waits: Waits) -> None:
        self._service = service
        self._namespace = namespace
        self._waits = waits

    async def jobs(self, name: str) -> list[dict[str, Any]]:
        """The attempts at the evaluation `name`, newest first."""
        return await attempts_at(self._service, JOBS, self._namespace, name)

    async def running(self) -> list[str]:
        """Names of the evaluations of the namespace that have not ended, whoever asked for them in this way."""
        return await running_work(self._service, JOBS, self._namespace)

    async def adoptable(self, name: str) -> str | None:
        """Id of the job that runs or has completed, if there is one."""
        return _adoptable(await self.jobs(name))

    async def get_or_create(self, name: str, body: dict[str, Any]) -> str:
        """Id of the job that runs or has completed; else of a new one.

        Raises: TransientRemoteError where nobody knows what became of the request.
        """
        known = await self.jobs(name)
        if (job := _adoptable(known)) is not None:
            return job
        body = {**body, "custom_fields": {TAG: name}}
        try:
            return str((await self._service.call("POST", JOBS, json=body)).document["id"])
        except TransientRemoteError:
            before = {job["id"] for job in known}
            for look in range(LOOKS_FOR_A_LOST_JOB):
                if look:
                    await asyncio.sleep(self._waits.poll)
                for found in await looked_at(lambda: self.jobs(name)) or []:
                    if found["id"] not in before:
                        return str(found["id"])
            raise

    async def finish(self, name: str, job: str, items: int, progress: Progress) -> None:
        """Watch the job to its end.

        Raises: RemoteJobFailed, RemoteJobCancelled, RemoteJobTimedOut.
        """
        patience = Patience()
        status = "created"
        seen: tuple[str, ...] = (status,)
        while True:
            now = await looked_at(lambda: self._service.call("GET", f"{JOBS}/{job}"))
            if now is not None:
                status = str(now.document.get("status") or "unknown")
                seen = _signature(now.document)
                progress(name, *_done(now.document, items), status)
                if status in ("failed", "cancelled"):
                    words = _reason(now.document)
                    if status == "failed":
                        raise RemoteJobFailed(f"The evaluation {name!r} failed on NeMo: {words}")
                    raise RemoteJobCancelled(
                        f"The evaluation {name!r} ({job}) was cancelled on the platform."
                    )
            if status == "completed":
                return
            queued = status in ("created", "pending")
            bound = self._waits.queue if queued else self._waits.stall
            if patience.is_spent(("queued",) if queued else seen, bound):
                await self.abandon(job)
                raise RemoteJobTimedOut(
                    f"The evaluation {name!r} ({job}) {'waited in the queue' if queued else 'made no progress'} for "
                    f"{bound:.0f} s and was given up."
                )
            await asyncio.sleep(self._waits.poll)

    async def require_scores(self, name: str, job: str, tasks: list[str]) -> None:
        """Look at the job's results, which exist from its creation on, and require each task in them.

        Raises: RemoteError that names the tasks without scores.
        """
        results = (await self._service.call("GET", f"{JOBS}/{job}/results")).document
        found = results.get("tasks")
        found = found if isinstance(found, dict) else {}
        missing = [task for task in tasks if not (found.get(task) or {}).get("metrics")]
        if missing:
            raise RemoteError(
                f"The results of the evaluation {name!r} ({job}) are incomplete: {', '.join(missing)} has no scores."
            )

    async def download(self, job: str, target: Path) -> None:
        """Write the job's archive of per-item results to `target`, never holding it in memory."""
        place = f"{JOBS}/{job}/download-results"
        async with self._service.download(place, "application/zip", SECONDS_FOR_RESULTS) as response:
            with target.open("wb") as file:
                async for chunk in response.aiter_bytes():
                    file.write(chunk)

    async def abandon(self, job: str) -> bool:
        """Cancel the job where the platform can, and see it over; else delete it. Returns whether it was cancelled.

        Not every release can cancel; there a deleted job may go on asking the model until its end.
        """
        try:
            reply = await self._service.call("POST", f"{JOBS}/{job}/cancel", also=NO_CANCEL)
            if reply.status not in NO_CANCEL:

                async def over() -> bool:
                    found = await self._service.call("GET", f"{JOBS}/{job}", also=(404,))
                    return found.status == 404 or found.document.get("status") in FINISHED

                if await until_gone(over, self._waits.release, self._waits.poll):
                    return True
        except TransientRemoteError:
            pass  # a gateway's word for "not supported"; what follows works without
        await self.delete(job)
        return False

    async def delete(self, job: str) -> None:
        """Delete a job with its results; one that is not there is no error."""
        headers = {"Accept": "*/*"}
        await self._service.call("DELETE", f"{JOBS}/{job}", headers=headers, also=(404,), any_body=True)


def _adoptable(jobs: list[dict[str, Any]]) -> str | None:
    over = ("failed", "cancelled", "cancelling")
    return next((str(job["id"]) for job in jobs if job.get("status") not in over), None)


def _signature(job: dict[str, Any]) -> tuple[str, ...]:
    """Changes with every progress. The percentage may be null throughout, so everything that moves is in it."""
    details = job.get("status_details") or {}
    moving = (details.get("progress"), details.get("samples_processed"), details.get("task_status"))
    return (str(job.get("status")), repr(moving), str(job.get("updated_at")))


def _done(job: dict[str, Any], items: int) -> tuple[int, int]:
    details = job.get("status_details") or {}
    samples, percent = details.get("samples_processed"), details.get("progress")
    if isinstance(samples, int):
        return min(samples, items), items
    if isinstance(percent, int | float):
        return min(items, round(items * percent / 100)), items
    return (items if job.get("status") == "completed" else 0), items


def _reason(job: dict[str, Any]) -> str:
    details = job.get("status_details") or {}
    words = details.get("message") or details.get("error") or details or "it gives no reason"
    return " ".join(str(words).split())[:600]
