"""What a training starts from: the base checkpoint (target) and the configuration, which carries its own hash."""

from __future__ import annotations

import asyncio
from typing import Any

from blocks.nemo.connection import Waits
from blocks.nemo.deployments import differences
from blocks.nemo.http import Service
from blocks.nemo.waiting import Patience, looked_at
from blocks.ports import FineTuneRequest
from flywheel.candidates import content_hash
from flywheel.errors import RemoteJobFailed, RemoteJobTimedOut, RemoteRejected
from flywheel.naming import slug
from flywheel.progress import Progress

TARGETS = "/v1/customization/targets"
CONFIGS = "/v1/customization/configs"
BROKEN = frozenset({"failed", "cancelled", "deleted", "deleting", "delete_failed"})


class CustomizationConfigs:
    """Targets of the whole platform, configurations of one namespace."""

    def __init__(self, service: Service, namespace: str, waits: Waits) -> None:
        self._service = service
        self._namespace = namespace
        self._waits = waits

    async def ready_target(self, request: FineTuneRequest, progress: Progress) -> str:
        """Reference of the base checkpoint of the model, once its files are there.

        Raises: RemoteRejected (there is none), RemoteJobFailed (its files cannot be had), RemoteJobTimedOut.
        """
        reference = request.customizer.target or await self._newest_target(request.model)
        patience, status = Patience(), "unknown"
        while True:
            reply = await looked_at(lambda: self._service.call("GET", f"{TARGETS}/{reference}", also=(404,)))
            status = (
                str(reply.document.get("status")) if reply is not None else status
            )  # no news is no change
            if reply is not None and reply.status == 404:
                raise RemoteRejected(
                    f"NeMo has no customization target {reference!r}; set customizer_config.target to one of "
                    f"GET {TARGETS}."
                )
            if status == "ready":
                return reference
            if status in BROKEN:
                raise RemoteJobFailed(f"The base checkpoint {reference!r} cannot be used: it is {status!r}.")
            progress(f"fine-tune {request.name}", 0, None, f"base checkpoint {status}")
            if patience.is_spent(status, self._waits.start):
                raise RemoteJobTimedOut(
                    f"The base checkpoint {reference!r} has been {status!r} for {patience.seconds:.0f} s."
                )
            await asyncio.sleep(self._waits.poll)

    async def get_or_create(self, request: FineTuneRequest, target: str) -> str:
        """Reference of a configuration with exactly these settings; its version is the hash of them.

        Raises: RemoteRejected where one of that name has other settings all the same.
        """
        settings = config_settings(request, target)
        name = f"{slug(request.model)}@fw-{content_hash(settings)[:12]}"
        body = {"name": name, "namespace": self._namespace, **settings}
        place = f"{CONFIGS}/{self._namespace}/{name}"
        found = await self._service.call("GET", place, also=(404,))
        if found.status == 404:
            created = await self._service.call("POST", CONFIGS, json=body, also=(409,), repeatable=True)
            found = created if created.status != 409 else await self._service.call("GET", place)
        differing = sorted(_differing(settings, found.document))
        if differing:
            raise RemoteRejected(
                f"The customization config {self._namespace}/{name} was changed: {', '.join(differing)} differ from "
                "what its name stands for; delete it on the platform."
            )
        return f"{self._namespace}/{name}"

    async def _newest_target(self, model: str) -> str:
        found: list[tuple[bool, str]] = []
        params = {"filter[base_model]": model, "sort": "-created_at"}
        async for entry in self._service.pages(TARGETS, params):
            if entry.get("base_model") == model and entry.get("enabled", True):
                found.append(
                    (entry.get("status") == "ready", f"{entry.get('namespace')}/{entry.get('name')}")
                )
        for ready, reference in found:
            if ready:
                return reference
        if found:
            return found[0][1]  # its files may still be on their way
        raise RemoteRejected(
            f"NeMo has no customization target for the model {model!r}, so it cannot be fine-tuned there; have one "
            "installed, or set customize to false for this candidate."
        )


def config_settings(request: FineTuneRequest, target: str) -> dict[str, Any]:
    """Everything that makes one configuration another."""
    hardware = request.customizer
    return {
        "target": target,
        "max_seq_length": request.training.max_seq_length,
        "training_precision": hardware.precision,
        "training_options": [
            {
                "training_type": request.training.training_type,
                "finetuning_type": request.training.finetuning_type,
                "num_gpus": hardware.gpus,
                "num_nodes": hardware.nodes,
                "micro_batch_size": hardware.micro_batch_size,
                "tensor_parallel_size": hardware.tensor_parallel_size,
            }
        ],
    }


def _differing(wanted: dict[str, Any], found: dict[str, Any]) -> set[str]:
    target = found.get("target")
    if isinstance(target, dict):  # the service may answer with the whole target instead of its name
        found = {**found, "target": f"{target.get('namespace')}/{target.get('name')}"}
    options = found.get("training_options")
    listed = options if isinstance(options, list) else []
    if any(isinstance(o, dict) and not differences(wanted["training_options"][0], o) for o in listed):
        found = {**found, "training_options": wanted["training_options"]}
    return differences(wanted, found)
