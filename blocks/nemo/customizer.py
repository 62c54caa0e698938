"""The Customizer: fine-tunes found by their tags before they are created, watched, cancelled and seen cancelled."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from blocks.nemo.connection import Waits
from blocks.nemo.customization_jobs import FINISHED, Job, JobStatus, read_job, read_status
from blocks.nemo.entity_store import TAG
from blocks.nemo.http import Service
from blocks.nemo.tagged_jobs import attempts_at, running_work
from blocks.nemo.waiting import Patience, looked_at, uninterrupted, until_gone
from blocks.ports import FineTuneRequest
from flywheel.errors import (
    NotEnoughResources,
    RemoteError,
    RemoteJobCancelled,
    RemoteJobFailed,
    RemoteJobTimedOut,
    RemoteRejected,
    TrainingOutOfTime,
    TransientRemoteError,
)
from flywheel.progress import Progress

JOBS = "/v1/customization/jobs"
LOOKS_FOR_A_LOST_JOB = 4
LONGEST_REASON = 600


class Customizer:
    """Jobs of one namespace. All attempts at one fine-tune carry its name as their tag."""

    def __init__(self, service: Service, namespace: str, waits: Waits) -> None:
        self._service = service
        self._namespace = namespace
        self._waits = waits

    async def jobs(self, name: str) -> list[Job]:
        """The attempts at the fine-tune `name`, newest first."""
        return [read_job(entry) for entry in await attempts_at(self._service, JOBS, self._namespace, name)]

    async def running(self) -> list[str]:
        """Names of the fine-tunes of the namespace that have not ended, whoever asked for them in this way."""
        return await running_work(self._service, JOBS, self._namespace)

    async def adoptable(self, name: str) -> Job | None:
        """The attempt that runs or has completed, if there is one."""
        return _adoptable(await self.jobs(name))

    async def get_or_create(self, name: str, body: dict[str, Any], progress: Progress) -> Job:
        """The attempt that runs or has completed; else a new one.

        Each attempt has an output model of its own version, which the platform makes only once: a request whose
        answer was lost cannot train a second time.

        Raises: TransientRemoteError (asked, no answer, and nothing to be seen of it), RemoteRejected.
        """
        jobs = await self.jobs(name)
        if (known := _adoptable(jobs)) is not None:
            return known
        attempt = f"v{len(jobs) + 1}"
        model = f"{self._namespace}/{name}@{attempt}"
        body = {**body, "name": f"{name}-{attempt}", "output_model": model}
        patience = Patience()
        while True:
            # Seen to its end even when cancelled: a request that is under way may still create the job.
            made = await uninterrupted(self._create(name, model, body))
            if isinstance(made, Job):
                return made
            progress(f"fine-tune {name}", 0, None, "the base checkpoint is being downloaded")
            if patience.is_spent("downloading", self._waits.start):
                raise RemoteJobTimedOut(
                    f"The base checkpoint of {name!r} was not there after {patience.seconds:.0f} s: {made}"
                )
            await asyncio.sleep(self._waits.poll)

    async def finish(
        self, name: str, job: Job, epochs: int, progress: Progress, max_hours: float | None = None
    ) -> tuple[JobStatus, float]:
        """Watch the job to its end; its last status, and the seconds for which it was seen waiting for GPUs.

        Args:
            max_hours: Longest time that the job may train, without the queue. A job that ends while it is being
                cancelled for that has ended as it did.

        Raises: TrainingOutOfTime, RemoteJobFailed, RemoteJobCancelled, RemoteJobTimedOut, NotEnoughResources.
        """
        patience = Patience()
        status = JobStatus(job.status)
        queued, trained, last_look = 0.0, 0.0, time.monotonic()
        stopping = False
        while True:
            now = await looked_at(lambda: self._status(job.id))
            if now is not None:
                status = now
                total = status.steps_per_epoch * epochs if status.steps_per_epoch else None
                progress(f"fine-tune {name}", status.steps, total, status.described(epochs))
            if status.status == "completed":
                return status, queued
            if status.status == "failed":
                raise RemoteJobFailed(
                    f"The fine-tune {name!r} failed on NeMo: {await self._reason(job, status)}"
                )
            if status.status == "cancelled" and stopping:
                raise TrainingOutOfTime(
                    f"The fine-tune {name!r} ({job.id}) was cancelled at training_config.max_hours ({max_hours:g} h), "
                    f"at step {status.steps}. Raise max_hours or train fewer epochs."
                )
            if status.status == "cancelled":
                raise RemoteJobCancelled(f"The fine-tune {name!r} ({job.id}) was cancelled on the platform.")
            passed = time.monotonic() - last_look
            if status.is_queued:
                queued += passed
            else:
                trained = max(status.elapsed_seconds or 0.0, trained + passed)
            last_look = time.monotonic()
            if max_hours is not None and trained >= max_hours * 3600 and not stopping:
                stopping = True
                await self._stop_out_of_time(name, max_hours)
                continue
            await self._check_bound(name, status, patience)
            await asyncio.sleep(self._waits.poll)

    async def _stop_out_of_time(self, name: str, max_hours: float) -> None:
        try:
            await self.cancel(name)
        except TransientRemoteError as error:
            raise RemoteJobTimedOut(
                f"The fine-tune {name!r} reached training_config.max_hours ({max_hours:g} h). {error}"
            ) from error

    async def cancel(self, name: str) -> None:
        """Stop every attempt that is not over, and see it stopped.

        Raises: TransientRemoteError where the platform does not confirm within the bound.
        """
        for job in await self.jobs(name):
            if job.status in FINISHED:
                continue
            place = f"{JOBS}/{job.id}/cancel"
            # A refusal may only say that it is over already; what counts is the state that follows.
            reply = await self._service.call("POST", place, also=(400, 404, 409, 422), repeatable=True)

            async def over(job: Job = job) -> bool:
                return (await self._status(job.id)).status in FINISHED

            if not await until_gone(over, self._waits.release, self._waits.poll):
                raise TransientRemoteError(
                    f"NeMo does not confirm within {self._waits.release:.0f} s that {name!r} ({job.id}) was cancelled"
                    f"{': ' + reply.said if reply.status >= 400 else ''}; cancel it there."
                )

    async def _create(self, name: str, model: str, body: dict[str, Any]) -> Job | str:
        """Ask once: the job, or the platform's words where the base checkpoint is still on its way."""
        try:
            reply = await self._service.call("POST", JOBS, json=body, also=(409,))
        except TransientRemoteError:
            found = await self._lost_job(name, model)
            if found is None:
                raise
            return found
        if reply.status != 409:
            return read_job(reply.document)
        if "download" in reply.said.lower():
            return reply.said
        found = await self._lost_job(name, model)
        if found is None:
            raise RemoteRejected(
                f"NeMo does not create the fine-tune {name!r}: {reply.said}. If a model {model!r} is left over, "
                "delete it, its files too."
            )
        return found

    async def _lost_job(self, name: str, model: str) -> Job | None:
        """The job whose answer did not come, in whatever state; it may take a moment to be listed."""
        for look in range(LOOKS_FOR_A_LOST_JOB):
            if look:
                await asyncio.sleep(self._waits.poll)
            for job in await looked_at(lambda: self.jobs(name)) or []:
                if job.output_model == model:
                    return job
        return None

    async def _status(self, job: str) -> JobStatus:
        return read_status((await self._service.call("GET", f"{JOBS}/{job}/status")).document)

    async def _check_bound(self, name: str, status: JobStatus, patience: Patience) -> None:
        """Stop what has made no progress for too long. Queue, start and training have a bound each."""
        if status.is_queued:
            # One bound for the whole wait: the platform says "not enough" again and again, which is no progress.
            seen: tuple[object, ...] = ("queued",)
            bound = self._waits.queue
        else:
            seen, bound = status.signature, self._waits.stall if status.steps else self._waits.start
        if not patience.is_spent(seen, bound):
            return
        try:
            await self.cancel(name)
            stopped = "it was cancelled"
        except RemoteError as error:
            stopped = f"cancelling it failed: {error}"
        if status.waits_for_gpus:
            raise NotEnoughResources(
                f"The fine-tune {name!r} waited {bound:.0f} s for GPUs that NeMo does not have ({stopped}). Free some, "
                "or lower customizer_config.gpus."
            )
        doing = "waited in NeMo's queue" if status.is_queued else "made no progress"
        raise RemoteJobTimedOut(
            f"The fine-tune {name!r} {doing} for {bound:.0f} s ({stopped}); last seen {status.status!r} at step "
            f"{status.steps}. {status.reason or ''}".rstrip()
        )

    async def _reason(self, job: Job, status: JobStatus) -> str:
        """The platform's own words for a failure, wherever it put them."""
        words = status.reason
        if not words:
            words = await self._container_error(job)
        if not words and status.logs:
            words = status.logs[-1][0]
        return " ".join((words or "it gives no reason").split())[:LONGEST_REASON]

    async def _container_error(self, job: Job) -> str | None:
        try:
            logs = (await self._service.call("GET", f"{JOBS}/{job.id}/container-logs", also=(404,))).document
        except RemoteError:
            return None
        error = logs.get("error")
        if isinstance(error, dict) and error.get("message"):
            return str(error["message"])
        for entry in (logs.get("entries") or {}).values():
            for event in reversed(entry.get("events") or []):
                if event.get("type") != "Normal" and event.get("message"):
                    return f"{event.get('reason')}: {event['message']}"
        return None


def _adoptable(jobs: list[Job]) -> Job | None:
    return next((job for job in jobs if job.status not in ("failed", "cancelled", "cancelling")), None)


def job_body(namespace: str, request: FineTuneRequest, config: str, rows: int) -> dict[str, Any]:
    """What is sent to create a job, but for what the attempt adds: its name and output model.

    The namespace is always sent: without it a job lands in "default", where no listing of ours finds it.
    """
    training, lora = request.training, request.lora
    adapter: dict[str, Any] = {
        "adapter_dim": lora.adapter_dim,
        "adapter_dropout": lora.adapter_dropout,
        "alpha": lora.adapter_alpha,
    }
    if lora.target_modules != "all-linear":
        adapter["target_modules"] = list(lora.target_modules)
    steps = math.ceil(rows / training.batch_size) * training.epochs
    return {
        "namespace": namespace,
        "project": request.name,
        "description": "Fine-tune of a Flywheel run",
        "custom_fields": {TAG: request.name},
        "config": config,
        "dataset": f"{namespace}/{request.name}",
        "hyperparameters": {
            "training_type": training.training_type,
            "finetuning_type": training.finetuning_type,
            "epochs": training.epochs,
            "batch_size": training.batch_size,
            "learning_rate": training.learning_rate,
            "weight_decay": training.weight_decay,
            "warmup_steps": round(training.warmup_ratio * steps),
            "seed": training.seed,
            "lora": adapter,
        },
    }
