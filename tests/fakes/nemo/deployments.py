"""Deployment Management."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.fakes.nemo.state import Clock, Misbehaviour, body_of, deleted, detail, named, ok, page

COLLECTION = "/v1/deployment/model-deployments"
PENDING_FROM, ROUTED_AFTER = 1.0, 1.0
SHORT_OF_GPUS = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


class Deployments:
    def __init__(self, clock: Clock, events: list[tuple[str, str]]) -> None:
        self.clock = clock
        self.events = events
        self.misbehave = Misbehaviour()
        self.made: dict[str, dict[str, Any]] = {}
        self._born: dict[str, float] = {}
        self._dying: dict[str, float] = {}
        self._failed: dict[str, str] = {}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post(COLLECTION, self._create)
        router.add_get(COLLECTION, self._list)
        router.add_get(f"{COLLECTION}/{{ns}}/{{name}}", self._get)
        router.add_delete(f"{COLLECTION}/{{ns}}/{{name}}", self._delete)

    def look(self) -> dict[str, dict[str, Any]]:
        """What is there now; time has its effect."""
        now = self.clock.seconds
        for reference, end in list(self._dying.items()):
            if now >= end:
                self.made.pop(reference, None)
                self._failed.pop(reference, None)
                del self._dying[reference]
        for reference, entity in self.made.items():
            entity["status_details"] = self._status(reference, now - self._born[reference])
            ready = entity["status_details"]["status"] == "ready"
            entity["deployed"] = ready
            entity["models"] = [entity["config"]["model"]] if ready else []
        return self.made

    def routed(self, lora: bool = False) -> set[str]:
        """Models that the NIM proxy routes to by now; with `lora`, those that take up adapters."""
        found = set()
        for reference, entity in self.look().items():
            age = self.clock.seconds - self._born[reference]
            if not entity["deployed"] or age < self.misbehave.start_seconds + ROUTED_AFTER:
                continue
            if not lora or not entity["config"]["nim_deployment"].get("disable_lora_support"):
                found.add(entity["config"]["model"])
        return found

    def _status(self, reference: str, age: float) -> dict[str, str]:
        trouble = self.misbehave
        if reference in self._failed:
            return {"status": "failed", "description": self._failed[reference]}
        if age < PENDING_FROM:
            return {"status": "created"}
        if named(trouble.starved_deployments, reference):
            return {"status": "pending", "description": SHORT_OF_GPUS}
        if named(trouble.stuck_deployments, reference) or age < trouble.start_seconds:
            return {"status": "pending", "description": "Pulling image"}
        if part := named(trouble.failing_deployments, reference):
            self._failed[reference] = trouble.failing_deployments[part]
            return {"status": "failed", "description": self._failed[reference]}
        return {"status": "ready", "description": "deployment is ready"}

    async def _create(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        reference = f"{body['namespace']}/{body['name']}"
        if reference in self.look():
            return detail(500, f"Internal error: model deployment already exists: {reference}")
        now = self.clock.naive()
        self._born[reference] = self.clock.seconds
        unset = {"description": None, "project": None}
        times = {"created_at": now, "updated_at": now}
        self.made[reference] = {**unset, **body, **times, "url": f"http://{body['name']}.nim.svc:8000"}
        self.events.append(("deployed", reference))
        return ok(self.look()[reference])

    async def _list(self, request: web.Request) -> web.Response:
        return page(list(self.look().values()), request.query)

    async def _get(self, request: web.Request) -> web.Response:
        found = self.look().get(_reference(request))
        return detail(404, "model deployment not found") if found is None else ok(found)

    async def _delete(self, request: web.Request) -> web.Response:
        reference = _reference(request)
        if reference not in self.look():
            return detail(404, "model deployment not found")
        if reference not in self._dying:
            self._dying[reference] = self.clock.seconds + self.misbehave.delete_seconds
            self.events.append(("shut down", reference))
        return deleted(reference, self.clock)


def _reference(request: web.Request) -> str:
    return f"{request.match_info['ns']}/{request.match_info['name']}"
