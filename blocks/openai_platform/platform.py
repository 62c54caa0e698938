"""Any service that speaks the OpenAI API: models that are there already, and fine-tuning where it is offered."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import Any

from blocks.openai_platform.api import Api
from blocks.openai_platform.connection import Connection
from blocks.openai_platform.fine_tuning_jobs import Ended, FineTuningJobs
from blocks.openai_platform.models import first_answer, stated_context
from blocks.openai_platform.training_file import TrainingFile, require_enough, write_training_file
from blocks.openai_platform.training_uploads import TrainingUploads
from blocks.ports import Endpoint, FineTuneRequest
from flywheel.config import CandidateConfig
from flywheel.errors import RemoteJobCancelled, RemoteJobFailed, RemoteJobTimedOut, RemoteRejected
from flywheel.progress import Progress, silent
from flywheel.results import Customization
from flywheel.token_counters import counter_for
from flywheel.tokens import TokenCounter


class OpenAIPlatform:
    """Nothing is deployed and nothing shut down; see `blocks.ports.Platform`.

    The provider decides on the shape of an adapter and on the learning rate: of our training settings it takes the
    epochs, the batch size and the seed.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._api = Api(
            connection.base_url,
            connection.key,
            connection.timeout_seconds,
            connection.first_pause,
        )
        self._jobs = FineTuningJobs(self._api, connection.patience)
        self._uploads = TrainingUploads(
            self._api, connection.startup_seconds, min(2.0, connection.patience.poll)
        )

    @property
    def api_key(self) -> str | None:
        """The key for whoever asks the models; it is never stored."""
        return self._connection.key

    async def context_length(self, candidate: CandidateConfig) -> int:
        """The candidate's own setting, else what the service states, else the connection's assumption."""
        if candidate.context_length:
            return candidate.context_length
        return await stated_context(self._api, candidate.model) or self._connection.context_length

    async def token_counter(self, candidate: CandidateConfig) -> TokenCounter:
        """An encoding of the same family; it says itself whether it is exact."""
        return counter_for(candidate.model)

    async def deploy(self, name: str, candidate: CandidateConfig, progress: Progress) -> Endpoint:
        """See the model answer. It is there already."""
        await first_answer(
            self._api, candidate.model, f"deploy {name}", progress, self._connection.startup_seconds
        )
        return self.endpoint(candidate.model)

    async def fine_tune(self, request: FineTuneRequest, progress: Progress) -> Customization:
        """Train at the provider, or adopt the training of that name; cancelling sees it stopped there.

        Raises:
            TooFewRecordsError: Fewer usable rows than the provider trains on.
            TrainingOutOfTime: The job was cancelled at training_config.max_hours, and seen cancelled.
            RemoteJobFailed, RemoteJobTimedOut, RemoteJobCancelled, RemoteRejected, TransientRemoteError.
        """
        with tempfile.TemporaryDirectory(prefix="flywheel-") as folder:
            train, validation = await asyncio.to_thread(self._files, request, Path(folder))
            stage = f"fine-tune {request.name}"
            detail = "; ".join(f"{count} rows left out: {reason}" for reason, count in train.left_out.items())
            progress(stage, 0, None, detail or "uploading")
            job = await self._jobs.find(request.name)
            if job is None:
                require_enough(train, self._connection.rules)
                job = await self._create(request, train, validation)
        try:
            ended = await self._jobs.watch(request.name, job, progress, request.training.max_hours)
        except asyncio.CancelledError:
            # Shielded: a second cancellation must not leave the training behind.
            await asyncio.shield(self._stop(job))
            raise
        except (RemoteJobFailed, RemoteJobTimedOut, RemoteJobCancelled):
            await self._clear(job)
            raise
        await self._clear(job)
        return _customization(ended, train)

    async def serve_customization(self, name: str, customization: Customization) -> Endpoint:
        """See the fine-tuned model answer; a provider may need a while before it knows it."""
        if not customization.model:
            raise RemoteRejected(
                f"The fine-tune {customization.job!r} left no model; look at the job at the provider."
            )
        await first_answer(
            self._api,
            customization.model,
            f"serve {customization.job}",
            silent,
            self._connection.startup_seconds,
            new=True,
        )
        return self.endpoint(customization.model)

    async def shut_down(self, name: str) -> None:
        """Nothing was deployed."""

    async def cancel_fine_tune(self, name: str) -> None:
        """Stop the training of that name if it runs, and see it stopped; for cleaning up after a dead run."""
        await self._jobs.cancel_named(name)

    def endpoint(self, model: str) -> Endpoint:
        """Where `model` answers."""
        return Endpoint(self._api.base_url, model, self._connection.key_env)

    def _files(self, request: FineTuneRequest, folder: Path) -> tuple[TrainingFile, TrainingFile]:
        rules, counter = self._connection.rules, counter_for(request.model)
        longest = request.training.max_seq_length
        train, validation = (
            write_training_file(request.train / name, folder / name, rules, counter, longest)
            for name in ("training.jsonl", "validation.jsonl")
        )
        return train, validation

    async def _create(
        self, request: FineTuneRequest, train: TrainingFile, validation: TrainingFile
    ) -> dict[str, Any]:
        settings = request.training
        body: dict[str, Any] = {
            "model": request.model,
            "training_file": await self._uploads.find_or_upload(train),
            "seed": settings.seed,
            "method": {
                "type": "supervised",
                "supervised": {
                    "hyperparameters": {"n_epochs": settings.epochs, "batch_size": settings.batch_size}
                },
            },
        }
        if validation.rows:
            body["validation_file"] = await self._uploads.find_or_upload(validation)
        try:
            return await self._jobs.find_or_create(request.name, body)
        except asyncio.CancelledError:
            await asyncio.shield(self._jobs.cancel_named(request.name))
            raise

    async def _stop(self, job: dict[str, Any]) -> None:
        await self._jobs.cancel(str(job["id"]))
        await self._clear(job)

    async def _clear(self, job: dict[str, Any]) -> None:
        """Logged data does not stay at the provider longer than it is needed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._connection.timeout_seconds):
                await self._uploads.remove(job.get("training_file"), job.get("validation_file"))


def _customization(ended: Ended, train: TrainingFile) -> Customization:
    job, metrics = ended.job, ended.metrics
    tokens = job.get("trained_tokens")
    return Customization(
        job=str(job["id"]),
        model=job.get("fine_tuned_model") or None,
        status="completed",
        train_loss=metrics.get("train_loss"),
        val_loss=metrics.get("full_valid_loss", metrics.get("valid_loss")),
        losses=ended.losses,
        train_rows=train.rows,
        skipped_rows=sum(train.left_out.values()),
        skipped=train.left_out,
        tokens=tokens if isinstance(tokens, int) else 0,
        runtime_seconds=round(ended.seconds, 3),
    )
