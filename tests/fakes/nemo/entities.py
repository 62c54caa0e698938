"""The Entity Store: namespaces, datasets, models."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.fakes.nemo.hub import Hub
from tests.fakes.nemo.state import Clock, body_of, deleted, detail, ok

UNSET_DATASET_FIELDS = ("description", "project", "format", "split", "limit", "hf_endpoint")


class Entities:
    def __init__(self, clock: Clock, hub: Hub) -> None:
        self.clock = clock
        self.hub = hub
        self.namespaces: dict[str, dict[str, Any]] = {}
        self.datasets: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/namespaces", self._create_namespace)
        router.add_get("/v1/namespaces/{ns}", self._namespace)
        router.add_post("/v1/datasets", self._create_dataset)
        router.add_get("/v1/datasets/{ns}/{name}", self._dataset)
        router.add_patch("/v1/datasets/{ns}/{name}", self._update_dataset)
        router.add_delete("/v1/datasets/{ns}/{name}", self._delete_dataset)
        router.add_get("/v1/models/{ns}/{name}", self._model)
        router.add_delete("/v1/models/{ns}/{name}", self._delete_model)

    def rows_of(self, url: str) -> list[bytes]:
        """The lines of the file that a URL of the Data Store names. KeyError where there is none."""
        ns, name, path = url.removeprefix("hf://datasets/").split("/", 2)
        return self.hub.files("dataset", f"{ns}/{name}")[path].splitlines()

    def create_model(self, reference: str, base_model: str, project: str | None) -> None:
        """The entity of an output model, which is there from its job's creation on."""
        ns, name = reference.split("/", 1)
        now = self.clock.naive()
        self.models[reference] = {
            "name": name,
            "namespace": ns,
            "description": None,
            "base_model": base_model,
            "project": project,
            "custom_fields": {},
            "artifact": {"files_url": f"hf://models/{reference}", "status": "created"},
            "peft": {"finetuning_type": "lora"},
            "spec": None,
            "created_at": now,
            "updated_at": now,
        }

    def add_base_model(self, reference: str, context_size: int) -> None:
        """A base model as an administrator registers it."""
        self.create_model(reference, reference, None)
        spec = {
            "num_parameters": 10**9,
            "context_size": context_size,
            "num_virtual_tokens": 0,
            "is_chat": True,
        }
        self.models[reference]["spec"] = spec

    async def _create_namespace(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        if body["id"] in self.namespaces:
            return detail(409, "namespace already exists")
        if body["id"] == "forbidden":
            problem = {"loc": ["body", "id"], "msg": "this id is reserved", "type": "value_error"}
            return web.json_response({"detail": [problem]}, status=422)
        now = self.clock.naive()
        entity = {"description": None, "project": None, "custom_fields": {}, "ownership": None}
        self.namespaces[body["id"]] = {**entity, **body, "created_at": now, "updated_at": now}
        return ok(self.namespaces[body["id"]])

    async def _namespace(self, request: web.Request) -> web.Response:
        found = self.namespaces.get(request.match_info["ns"])
        return detail(404, "namespace not found") if found is None else ok(found)

    async def _create_dataset(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        reference = f"{body['namespace']}/{body['name']}"
        if reference in self.datasets:
            return detail(409, "dataset already exists")
        now = self.clock.naive()
        entity = dict.fromkeys(UNSET_DATASET_FIELDS) | {"custom_fields": {}} | body
        times = {"created_at": now, "updated_at": now}
        self.datasets[reference] = {"id": self.clock.new_id("dataset"), **entity, **times}
        return ok(self.datasets[reference])

    async def _dataset(self, request: web.Request) -> web.Response:
        found = self.datasets.get(_reference(request))
        return detail(404, "dataset not found") if found is None else ok(found)

    async def _update_dataset(self, request: web.Request) -> web.Response:
        self.datasets[_reference(request)] |= await body_of(request)
        return ok(self.datasets[_reference(request)])

    async def _delete_dataset(self, request: web.Request) -> web.Response:
        if self.datasets.pop(_reference(request), None) is None:
            return detail(404, "dataset not found")
        return deleted(_reference(request), self.clock)

    async def _model(self, request: web.Request) -> web.Response:
        found = self.models.get(_reference(request))
        return detail(404, "model not found") if found is None else ok(found)

    async def _delete_model(self, request: web.Request) -> web.Response:
        if self.models.pop(_reference(request), None) is None:
            return detail(404, "model not found")
        return deleted(_reference(request), self.clock)


def _reference(request: web.Request) -> str:
    return f"{request.match_info['ns']}/{request.match_info['name']}"
