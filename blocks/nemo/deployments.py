"""Deployment Management: models got or created by name, watched until they answer, shut down and seen gone."""

from __future__ import annotations

import asyncio
from typing import Any

from blocks.nemo.connection import Waits
from blocks.nemo.http import Service
from blocks.nemo.inference import Inference
from blocks.nemo.waiting import Patience, looked_at, uninterrupted, until_gone
from flywheel.config import CandidateConfig
from flywheel.errors import (
    NotEnoughResources,
    RemoteJobFailed,
    RemoteJobTimedOut,
    RemoteRejected,
    TransientRemoteError,
)
from flywheel.progress import Progress

COLLECTION = "/v1/deployment/model-deployments"
FAILED = frozenset({"failed", "cancelled", "cancelling"})
EXISTS = frozenset({400, 409, 422, 500})
"""What services of different releases answer where a deployment exists; all but 409 may mean something else too."""
SHORT_OF_GPUS = ("insufficient", "notenoughresources", "not enough resources", "unschedulable")


class Deployments:
    """Deployments of one namespace."""

    def __init__(self, service: Service, inference: Inference, namespace: str, waits: Waits) -> None:
        self._service = service
        self._inference = inference
        self._namespace = namespace
        self._waits = waits

    async def get_or_create(self, name: str, candidate: CandidateConfig, progress: Progress) -> None:
        """Deploy the candidate's model under `name`, or adopt what stands there, and return when it has answered.

        One that failed earlier is taken away and made again.

        Raises:
            RemoteRejected: Another configuration has that name, or the platform refuses this one.
            RemoteJobFailed: It ended; the message holds the platform's own words.
            RemoteJobTimedOut: No news within the bound, or no answer of the model.
            TransientRemoteError: The request to create it got lost, and nothing of it is to be seen.
        """
        stage = f"deploy {name}"
        wanted = deployment_body(self._namespace, name, candidate)
        found = await self._find(name)
        if found is not None and _status(found) in FAILED:
            progress(stage, 0, None, "taking away what failed earlier")
            await self.remove(name)
            found = None
        if found is None:
            # Seen to its end even when cancelled: what a lost request creates later nobody would shut down.
            found = await uninterrupted(self._create(name, wanted))
        self._require_same(name, wanted, found)
        await self._await_ready(name, stage, progress)
        await self._inference.await_answer(candidate.model, stage, progress)
        progress(stage, 1, 1, "answers")

    async def names(self) -> list[str]:
        """All deployments of the namespace, ours and others'."""
        return [
            str(entry["name"])
            async for entry in self._service.pages(COLLECTION, {"sort": "-created_at"})
            if entry.get("namespace") == self._namespace and entry.get("name")
        ]

    async def remove(self, name: str) -> None:
        """Shut it down and see it gone; one that is not there is no error.

        Raises: TransientRemoteError where it is still there at the end of the bound.
        """
        await self._service.call("DELETE", self._place(name), also=(404,), any_body=True)

        async def gone() -> bool:
            return await self._find(name) is None

        if not await until_gone(gone, self._waits.release, self._waits.poll):
            raise TransientRemoteError(
                f"The deployment {self._namespace}/{name} is still there {self._waits.release:.0f} s after it was "
                "deleted; try again, or delete it on the platform."
            )

    async def _find(self, name: str) -> dict[str, Any] | None:
        reply = await self._service.call("GET", self._place(name), also=(404,))
        return None if reply.status == 404 else reply.document

    async def _create(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask once. An answer that was lost and one that says "exists" both end in a look at what is there."""
        lost: TransientRemoteError | None = None
        said = ""
        try:
            reply = await self._service.call("POST", COLLECTION, json=body, also=EXISTS)
            if reply.status not in EXISTS:
                return reply.document
            said = reply.said
            if reply.status in (400, 422) and "already exists" not in said:
                raise RemoteRejected(f"NeMo refuses the deployment {name!r}: {said}. Correct the candidate.")
        except TransientRemoteError as error:
            lost = error
        found = await self._find(name)
        if found is not None:
            return found
        if lost is not None:
            raise lost
        if "already exists" in said:
            raise TransientRemoteError(f"The deployment {name!r} is said to exist, but is not there: {said}")
        raise TransientRemoteError(f"NeMo could not create the deployment {name!r}: {said}")

    def _require_same(self, name: str, wanted: dict[str, Any], found: dict[str, Any]) -> None:
        config = found.get("config")
        differing = sorted(differences(wanted["config"], config)) if isinstance(config, dict) else ["config"]
        if differing:
            raise RemoteRejected(
                f"A deployment named {self._namespace}/{name} exists with another {', '.join(differing)}; delete it "
                "or give the candidate another name."
            )

    async def _await_ready(self, name: str, stage: str, progress: Progress) -> None:
        patience = Patience()
        status, description = "created", ""
        while True:
            found = await looked_at(lambda: self._service.call("GET", self._place(name), also=(404,)))
            if found is not None:
                if found.status == 404:
                    raise RemoteJobFailed(
                        f"The deployment {name!r} vanished while it started; somebody deleted it."
                    )
                status, description = _status(found.document), _description(found.document)
                if status == "ready":
                    return
                if status in FAILED:
                    raise RemoteJobFailed(
                        f"The deployment {name!r} is {status}: {description or 'the platform gives no reason'}."
                    )
                progress(stage, 0, None, f"{status} {description}".strip())
            starved = any(words in description.lower() for words in SHORT_OF_GPUS)
            if starved and patience.is_spent("queue", self._waits.queue):
                raise NotEnoughResources(
                    f"The deployment {name!r} waited {patience.seconds:.0f} s for GPUs: {description}. Free some, or "
                    "lower deployment_config.gpus."
                )
            if not starved and patience.is_spent((status, description), self._waits.start):
                raise RemoteJobTimedOut(
                    f"The deployment {name!r} has been {status!r} for {patience.seconds:.0f} s without any news"
                    f"{': ' + description if description else ''}."
                )
            await asyncio.sleep(self._waits.poll)

    def _place(self, name: str) -> str:
        return f"{COLLECTION}/{self._namespace}/{name}"


def deployment_body(namespace: str, name: str, candidate: CandidateConfig) -> dict[str, Any]:
    """What is sent to create the deployment."""
    settings = candidate.deployment_config
    nim: dict[str, Any] = {
        "image_name": settings.image_name or f"nvcr.io/nim/{candidate.model}",
        "image_tag": settings.image_tag,
        "gpu": settings.gpus,
        "pvc_size": settings.storage,
        "disable_lora_support": not candidate.customize,  # images without LoRA support refuse to start with it
    }
    if settings.environment:
        nim["additional_envs"] = dict(settings.environment)
    return {
        "name": name,
        "namespace": namespace,
        "project": name,
        "description": f"Candidate {candidate.name} of a Flywheel run",
        "config": {"model": candidate.model, "nim_deployment": nim},
    }


def _status(deployment: dict[str, Any]) -> str:
    details = deployment.get("status_details")
    return str(details.get("status") or "unknown") if isinstance(details, dict) else "unknown"


def _description(deployment: dict[str, Any]) -> str:
    details = deployment.get("status_details")
    return " ".join(str(details.get("description") or "").split()) if isinstance(details, dict) else ""


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> set[str]:
    """Names of the fields that we set and that stand there otherwise; what the platform adds is no difference."""
    names: set[str] = set()
    for key, value in wanted.items():
        other = found.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            names |= differences(value, other)
        elif value != other and not (value is False and other is None):
            names.add(key)
    return names
