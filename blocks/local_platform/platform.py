"""The platform that needs nothing but this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import msgspec

from blocks.local_platform.models import model_files
from blocks.local_platform.serving.deployments import Deployments
from blocks.local_platform.training.adapter_card import adapter_revision
from blocks.local_platform.training.fine_tunes import FineTunes, failures_named
from blocks.local_platform.training.job_files import JobSpec, data_hash
from blocks.ports import Endpoint, FineTuneRequest
from flywheel.config import CandidateConfig
from flywheel.errors import RemoteRejected
from flywheel.naming import slug
from flywheel.progress import Progress, listener
from flywheel.results import Customization
from flywheel.tokens import TokenCounter

LONGEST_NAME = 80


class LocalPlatform:
    """Deploys, fine-tunes and serves in worker processes of this machine. See `blocks.ports.Platform`.

    Everything lies below `home`: models/, deployments/<name>/, jobs/<name>/. Names decide what is the same thing, so
    another object, or another process, finds what this one made.

    Args:
        home: Directory of the platform; made when it is missing.
        startup_seconds: Longest wait for a server to answer, and for one of its calls.
        stall_seconds: Longest time without any progress of a fine-tune.
    """

    scores_epochs: Literal[True] = True

    def __init__(self, home: Path, *, startup_seconds: float = 300.0, stall_seconds: float = 900.0) -> None:
        self._home = home.absolute()
        self._deployments = Deployments(self._home / "deployments", startup_seconds)
        self._fine_tunes = FineTunes(self._home / "jobs", stall_seconds)

    async def context_length(self, candidate: CandidateConfig) -> int:
        """The candidate's own setting where it has one, but never more than the model can."""
        own = model_files.context_length(await self._folder(candidate.model))
        return min(own, candidate.context_length or own)

    async def token_counter(self, candidate: CandidateConfig) -> TokenCounter:
        """Counts with the model's own tokenizer; loads neither torch nor the model."""
        return model_files.TokenizerFileCounter(await self._folder(candidate.model) / "tokenizer.json")

    async def deploy(self, name: str, candidate: CandidateConfig, progress: Progress) -> Endpoint:
        """Bring the model up on a free loopback port; adopts a server of that name that still runs."""
        folder = await self._folder(candidate.model, progress)
        with failures_named(name):
            context = await self.context_length(candidate)
            endpoint = await self._deployments.get_or_create(
                _safe(name), candidate.model, folder, context, progress
            )
        return msgspec.structs.replace(endpoint, revision=model_files.revision(folder))

    async def fine_tune(self, request: FineTuneRequest, progress: Progress) -> Customization:
        """Train in a process of its own; completed: returned, running: adopted, interrupted: resumed."""
        folder = await self._folder(request.model, progress)
        name = _safe(request.name)
        spec = JobSpec(
            name=request.name,
            model=request.model,
            folder=str(folder),
            train=str(request.train.absolute()),
            data=await asyncio.to_thread(data_hash, request.train),
            training=request.training.model_dump(),
            lora=request.lora.model_dump(),
            metrics=compared_by(request),
        )
        with failures_named(request.name):
            self._fine_tunes.start(name, spec)
            return await self._fine_tunes.finish(name, progress)

    async def serve_customization(self, name: str, customization: Customization) -> Endpoint:
        """Merge the adapter into a copy of the base and serve it beside that."""
        if customization.adapter is None or customization.model is None:
            raise RemoteRejected(f"The fine-tune {customization.job!r} left no adapter; run it again.")
        endpoint = await self._deployments.load_adapter(
            _safe(name), customization.model, customization.adapter
        )
        revision = await asyncio.to_thread(adapter_revision, Path(customization.adapter))
        return msgspec.structs.replace(endpoint, revision=revision)

    async def shut_down(self, name: str) -> None:
        """Stop the server and see its process gone. A deployment that does not exist is no error."""
        with failures_named(name):
            await self._deployments.remove(_safe(name))

    async def cancel_fine_tune(self, name: str) -> None:
        """Stop the training of that name if it runs, and see its process gone; for cleaning up after a dead run."""
        await self._fine_tunes.cancel(_safe(name))

    async def existing(self) -> list[tuple[str, str]]:
        """Kind and name of what takes up this machine: server directories, and trainings that run."""
        return [
            *(("deployment", name) for name in self._deployments.names()),
            *(("fine-tune", name) for name in self._fine_tunes.running()),
        ]

    async def _folder(self, model: str, progress: Progress | None = None) -> Path:
        model_files.require_local_extra()
        return await asyncio.to_thread(model_files.resolve_model, model, self._home, progress or listener())


def compared_by(request: FineTuneRequest) -> dict[str, Any]:
    """The part of the metrics that decides which epoch is kept; empty where none does."""
    if request.training.keep != "best_score":
        return {}
    return request.metrics.model_dump(include={"primary", "arguments"})


def _safe(name: str) -> str:
    return slug(name, most=LONGEST_NAME)
