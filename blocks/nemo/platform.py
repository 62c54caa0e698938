"""NeMo Microservices behind the platform port."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import msgspec

from blocks.nemo import evaluation_results, evaluation_tasks
from blocks.nemo.connection import NemoConnection
from blocks.nemo.customization_jobs import FINISHED
from blocks.nemo.entity_store import dataset_url
from blocks.nemo.fine_tuning import fine_tuned
from blocks.nemo.parts import Parts, opened
from blocks.nemo.waiting import uninterrupted
from blocks.ports import Endpoint, EvaluationRequest, FineTuneRequest
from flywheel.config import CandidateConfig
from flywheel.errors import RemoteError, RemoteRejected
from flywheel.naming import slug
from flywheel.progress import Progress, silent
from flywheel.results import Customization, Prediction
from flywheel.token_counters import counter_for
from flywheel.tokens import TokenCounter

LONGEST_NAME = 60
"""Deployments become Kubernetes objects, whose names end at 63 characters."""

CONTEXT_LENGTH = 8_192
"""Tokens, where neither the candidate nor the platform states a context length: few models there have less."""

log = logging.getLogger(__name__)


class NemoPlatform:
    """Deploys, fine-tunes, serves and evaluates on NeMo Microservices. See `blocks.ports.Platform`.

    Names are made from those that the caller gives, cut to what the platform takes; whatever was made is found again
    by its name or, for jobs, by the tags `project` and `custom_fields`.
    """

    def __init__(self, connection: NemoConnection) -> None:
        self._connection = connection

    @property
    def api_key(self) -> str | None:
        """The key that the NIM asks for; it never travels with an endpoint."""
        return self._connection.key

    async def context_length(self, candidate: CandidateConfig) -> int:
        """The candidate's own setting, the model's where the Entity Store knows it; never more than both allow."""
        async with opened(self._connection) as parts:
            known = await parts.entities.context_size(candidate.model)
        return min(candidate.context_length or known or CONTEXT_LENGTH, known or 2**31)

    async def token_counter(self, candidate: CandidateConfig) -> TokenCounter:
        """An estimate; the platform shows no tokenizer."""
        return counter_for(candidate.model)

    async def deploy(self, name: str, candidate: CandidateConfig, progress: Progress) -> Endpoint:
        """Deploy the model and return when a completion of it came back."""
        async with opened(self._connection) as parts:
            await parts.entities.ensure_namespace()
            await parts.deployments.get_or_create(_safe(name), candidate, _told_as(name, progress))
        return self._endpoint(candidate.model)

    async def fine_tune(self, request: FineTuneRequest, progress: Progress) -> Customization:
        """Upload, submit, watch. Cancelling the call cancels the job and sees it cancelled."""
        progress = _told_as(request.name, progress)
        request = msgspec.structs.replace(request, name=_safe(request.name))
        try:
            async with opened(self._connection) as parts:
                return await fine_tuned(parts, request, progress)
        except asyncio.CancelledError:
            await _attempted(self.cancel_fine_tune(request.name))
            raise

    async def serve_customization(self, name: str, customization: Customization) -> Endpoint:
        """Wait until the deployment of the base model has taken up the adapter and answers with it."""
        if customization.model is None:
            raise RemoteRejected(f"The fine-tune {customization.job!r} left no model; run it again.")
        async with opened(self._connection) as parts:
            await parts.inference.await_answer(customization.model, f"serve {name}", silent)
        return self._endpoint(customization.model)

    async def shut_down(self, name: str) -> None:
        """Delete the deployment and see it gone."""
        async with opened(self._connection) as parts:
            await parts.deployments.remove(_safe(name))

    async def evaluate(self, request: EvaluationRequest, progress: Progress) -> list[Prediction]:
        """Have the NeMo Evaluator ask the items. See `blocks.ports.PlatformEvaluator`."""
        name = _safe(request.name)
        try:
            async with opened(self._connection) as parts:
                with tempfile.TemporaryDirectory() as folder:
                    told = _told_as(request.name, progress)
                    return await self._evaluated(parts, name, request, Path(folder), told)
        except asyncio.CancelledError:
            await _attempted(self.cancel_evaluation(name))
            raise

    def not_sent(self, body: dict[str, Any]) -> list[str]:
        """Fields of a request that the Evaluator's template has no place for."""
        return evaluation_tasks.not_sent(body)

    async def existing(self) -> list[tuple[str, str]]:
        """See `blocks.ports.NamedThings`: what there is in the namespace, ours and others'."""
        async with opened(self._connection) as parts:
            found = {
                "deployment": await parts.deployments.names(),
                "fine-tune": await parts.customizer.running(),
                "evaluation": await parts.evaluator.running(),
            }
        return [(kind, name) for kind, names in found.items() for name in names]

    async def cancel_fine_tune(self, name: str) -> None:
        """Stop the fine-tune of that name if it runs, and see it stopped; its uploaded rows are deleted."""
        async with opened(self._connection) as parts:
            await parts.customizer.cancel(_safe(name))
            await parts.delete_dataset(_safe(name))

    async def cancel_evaluation(self, name: str) -> None:
        """Stop the evaluation of that name where the platform can; its uploaded items are deleted."""
        async with opened(self._connection) as parts:
            for job in await parts.evaluator.jobs(_safe(name)):
                if job.get("status") not in FINISHED:
                    await parts.evaluator.abandon(str(job["id"]))
            await parts.delete_dataset(_safe(name))

    async def delete_fine_tune(self, name: str) -> None:
        """Remove everything that a fine-tune left: jobs are stopped, models with their files and data deleted.

        Goes on past what fails. Raises: RemoteError that names what could not be deleted.
        """
        name = _safe(name)
        async with opened(self._connection) as parts:
            await parts.customizer.cancel(name)
            work = [
                *(parts.entities.delete_model(job.output_model) for job in await parts.customizer.jobs(name)),
                parts.data.delete_repo(name, "model"),
                parts.delete_dataset(name),
            ]
            left = [said for one in work if (said := await _failure(one))]
        if left:
            raise RemoteError(f"Not everything of {name!r} could be deleted; try again. {' '.join(left)}")

    async def _evaluated(
        self, parts: Parts, name: str, request: EvaluationRequest, folder: Path, progress: Progress
    ) -> list[Prediction]:
        model, settings, items = request.endpoint.model, request.settings, request.items
        url = dataset_url(parts.namespace, name)
        tasks = await asyncio.to_thread(evaluation_tasks.write_tasks, items, model, settings, folder, url)
        if await parts.evaluator.adoptable(name) is None:
            files = {task.file: folder / task.file for task in tasks}
            await parts.put_dataset(name, files, "Evaluation items of a Flywheel run")
        body = evaluation_tasks.job_body(name, parts.namespace, model, tasks, settings)
        job = await uninterrupted(parts.evaluator.get_or_create(name, body))
        await parts.evaluator.finish(name, job, len(items), progress)
        await parts.evaluator.require_scores(name, job, [task.name for task in tasks])
        archive = folder / "results.zip"
        await parts.evaluator.download(job, archive)
        predictions = await asyncio.to_thread(evaluation_results.read_predictions, archive, items, settings)
        await parts.delete_dataset(name)
        return predictions

    def _endpoint(self, model: str) -> Endpoint:
        nim = f"{self._connection.nim}/v1"
        return Endpoint(base_url=nim, model=model, api_key_env=self._connection.nim_key_env)


async def _attempted(work: Awaitable[None]) -> None:
    """See to the end what a cancellation asks for; what fails in it must not take the cancellation's place."""

    async def attempt() -> None:
        if said := await _failure(work):
            log.warning("Not confirmed while cancelling; the ledger keeps it for a clean-up. %s", said)

    await uninterrupted(attempt())


async def _failure(work: Awaitable[None]) -> str:
    try:
        await work
    except RemoteError as error:
        return str(error)
    return ""


def _told_as(name: str, progress: Progress) -> Progress:
    """`progress` with the name that the caller gave in place of the one made for the platform."""
    safe = _safe(name)

    def told(stage: str, done: int, total: int | None, detail: str = "") -> None:
        progress(stage.replace(safe, name), done, total, detail)

    return told


def _safe(name: str) -> str:
    return slug(name, most=LONGEST_NAME)
