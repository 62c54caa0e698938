"""The Entity Store: namespaces, registered datasets, model entities."""

from __future__ import annotations

from typing import Any

from blocks.nemo.http import Service
from flywheel.errors import RemoteError, RemoteRejected

TAG = "flywheel_name"
"""Key in the custom fields of everything we make: the name by which it is found again."""


class EntityStore:
    """Entities of one namespace."""

    def __init__(self, service: Service, namespace: str) -> None:
        self._service = service
        self._namespace = namespace

    async def ensure_namespace(self) -> None:
        """Make the namespace or find it."""
        place = f"/v1/namespaces/{self._namespace}"
        if (await self._service.call("GET", place, also=(404,))).status != 404:
            return
        body = {"id": self._namespace, "description": "Data and models of Flywheel runs"}
        reply = await self._service.call(
            "POST", "/v1/namespaces", json=body, also=(409, 422), repeatable=True
        )
        # Both statuses say that it exists, but 422 also says that the name is not allowed.
        if reply.status in (409, 422) and (await self._service.call("GET", place, also=(404,))).status == 404:
            raise RemoteRejected(f"NeMo refuses the namespace {self._namespace!r}: {reply.said}")

    async def register_dataset(self, name: str, description: str) -> str:
        """Register the repository of that name, see it registered, and return its URL.

        Raises: RemoteError where the entity points elsewhere afterwards.
        """
        url = dataset_url(self._namespace, name)
        place = f"/v1/datasets/{self._namespace}/{name}"
        fields: dict[str, Any] = {
            "files_url": url,
            "description": description,
            "project": name,
            "custom_fields": {TAG: name},
        }
        exists = (await self._service.call("GET", place, also=(404,))).status != 404
        if not exists:
            body = {"name": name, "namespace": self._namespace, **fields}
            reply = await self._service.call(
                "POST", "/v1/datasets", json=body, also=(409, 422), repeatable=True
            )
            exists = reply.status in (409, 422)
            if reply.status == 422 and (await self._service.call("GET", place, also=(404,))).status == 404:
                raise RemoteRejected(f"NeMo refuses the dataset {name!r}: {reply.said}")
        if exists:
            await self._service.call("PATCH", place, json=fields)
        found = (await self._service.call("GET", place)).document.get("files_url")
        if found != url:
            raise RemoteError(f"The dataset {self._namespace}/{name} points to {found!r} instead of {url!r}.")
        return url

    async def delete_dataset(self, name: str) -> None:
        """Remove the registration, not the files; one that is not there is no error."""
        place = f"/v1/datasets/{self._namespace}/{name}"
        await self._service.call("DELETE", place, also=(404,), any_body=True)

    async def artifact_status(self, model: str) -> str | None:
        """State of a model's files: "created", "upload_failed" or "upload_completed"; None where it is unknown.

        The entity exists from the creation of its job on, so that it is there proves nothing.
        """
        reply = await self._service.call("GET", f"/v1/models/{model}", also=(404,))
        artifact = reply.document.get("artifact") if reply.status != 404 else None
        status = artifact.get("status") if isinstance(artifact, dict) else None
        return status if isinstance(status, str) else None

    async def context_size(self, model: str) -> int | None:
        """Context length of a model in tokens, None where the platform does not tell."""
        if "/" not in model:
            return None
        spec = (await self._service.call("GET", f"/v1/models/{model}", also=(404,))).document.get("spec")
        size = spec.get("context_size") if isinstance(spec, dict) else None
        return size if isinstance(size, int) and size > 0 else None

    async def delete_model(self, model: str) -> None:
        """Remove the entity, not its files; one that is not there is no error."""
        await self._service.call("DELETE", f"/v1/models/{model}", also=(404,), any_body=True)


def dataset_url(namespace: str, name: str, path: str = "") -> str:
    """How the platform's services name a repository of the Data Store, or one file of it."""
    return f"hf://datasets/{namespace}/{name}" + (f"/{path}" if path else "")
