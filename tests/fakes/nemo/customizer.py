"""The Customizer. A job reads the rows that were uploaded, and fails on what the real one cannot take."""

from __future__ import annotations

import json
import math
from typing import Any

from aiohttp import web

from tests.fakes.nemo.entities import Entities
from tests.fakes.nemo.state import Clock, Misbehaviour, body_of, detail, named, ok, page
from tests.fakes.nemo.training_rows import row_problem

JOBS, CONFIGS, TARGETS = "/v1/customization/jobs", "/v1/customization/configs", "/v1/customization/targets"
PENDING_FROM, RUNNING_FROM, FIRST_STEP, LAST_STEP = 1.0, 4.0, 5.0, 12.0
FINISHED = {"completed", "failed", "cancelled"}


class Customizer:
    def __init__(self, clock: Clock, entities: Entities, events: list[tuple[str, str]]) -> None:
        self.clock = clock
        self.entities = entities
        self.events = events
        self.misbehave = Misbehaviour()
        self.targets: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.completed_at: dict[str, float] = {}
        self._born: dict[str, float] = {}
        self._ends: dict[str, float] = {}
        self._rows: dict[str, int] = {}
        self._cancelled_at: dict[str, float] = {}
        self._starved_looks: dict[str, int] = {}

    def add_target(self, base_model: str, version: str = "2.0", status: str = "ready") -> None:
        """What an administrator installs."""
        namespace, name = base_model.split("/") if "/" in base_model else ("default", base_model)
        now = self.clock.naive()
        self.targets[f"{namespace}/{name}@{version}"] = {
            "name": f"{name}@{version}",
            "namespace": namespace,
            "base_model": base_model,
            "num_parameters": 1_000_000_000,
            "precision": "bf16-mixed",
            "model_path": f"{name}_{version}",
            "enabled": True,
            "status": status,
            "created_at": now,
            "updated_at": now,
        }

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get(TARGETS, self._list_targets)
        router.add_get(f"{TARGETS}/{{ns}}/{{name}}", self._target)
        router.add_post(CONFIGS, self._create_config)
        router.add_get(f"{CONFIGS}/{{ns}}/{{name}}", self._config)
        router.add_post(JOBS, self._create_job)
        router.add_get(JOBS, self._list_jobs)
        router.add_get(f"{JOBS}/{{id}}/status", self._status)
        router.add_get(f"{JOBS}/{{id}}/container-logs", self._container_logs)
        router.add_post(f"{JOBS}/{{id}}/cancel", self._cancel)

    def adapters(self, bases: set[str]) -> set[str]:
        """Output models that NIMs of these base models have taken up by now."""
        found = set()
        for identifier, when in self.completed_at.items():
            job = self.jobs[identifier]
            synced = self.clock.seconds >= when + self.misbehave.sync_seconds
            if (
                synced
                and job["config_snapshot"]["base_model"] in bases
                and not named(self.misbehave.never_synced, job["output_model"])
                and job["output_model"] in self.entities.models
            ):
                found.add(job["output_model"])
        return found

    async def _list_targets(self, request: web.Request) -> web.Response:
        return page(list(self.targets.values()), request.query)

    async def _target(self, request: web.Request) -> web.Response:
        found = self.targets.get(_reference(request))
        return detail(404, "target not found") if found is None else ok(found)

    async def _create_config(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        reference = f"{body['namespace']}/{body['name']}"
        if reference in self.configs:
            return detail(409, "customization config already exists")
        now = self.clock.naive()
        self.configs[reference] = {
            **body,
            "target": self.targets[body["target"]],  # the whole target comes back
            "created_at": now,
            "updated_at": now,
        }
        return ok(self.configs[reference])

    async def _config(self, request: web.Request) -> web.Response:
        found = self.configs.get(_reference(request))
        return detail(404, "config not found") if found is None else ok(found)

    async def _create_job(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        config = self.configs[body["config"]]
        if self.misbehave.downloading_seconds > self.clock.seconds:
            return detail(409, "The model is downloading to cache, try again later.")
        identifier = self.clock.new_id("cust")
        model = (
            body["output_model"] if "@" in body["output_model"] else f"{body['output_model']}@{identifier}"
        )
        if model in self.entities.models:
            return detail(409, f"model or dataset with name {model} already exists")
        base = config["target"]["base_model"]
        now = self.clock.naive()
        self.jobs[identifier] = {
            "id": identifier,
            "config": body["config"],
            "config_snapshot": {
                "base_model": base,
                "max_seq_length": config["max_seq_length"],
                "precision": config["training_precision"],
                "training_option": config["training_options"][0],
            },
            "dataset": body["dataset"],
            "hyperparameters": body["hyperparameters"],
            "output_model": model,
            "namespace": body.get("namespace", "default"),
            "project": body.get("project"),
            "description": body.get("description"),
            "custom_fields": body.get("custom_fields", {}),
            "status": "created",
            "status_details": {"created_at": now, "updated_at": now},  # its own status may be missing here
            "warnings": None,
            "created_at": now,
            "updated_at": now,
        }
        self._born[identifier] = self.clock.seconds
        self._rows[identifier] = 0
        self.entities.create_model(model, base, body.get("project"))
        self.events.append(("submitted", model))
        return ok(self.jobs[identifier])

    async def _list_jobs(self, request: web.Request) -> web.Response:
        for identifier in self.jobs:
            self._look(identifier)
        return page(list(self.jobs.values()), request.query)

    async def _status(self, request: web.Request) -> web.Response:
        return ok(self._look(request.match_info["id"]))

    async def _container_logs(self, request: web.Request) -> web.Response:
        event = {"type": "Warning", "reason": "BackOff", "message": "back-off restarting failed container"}
        return ok({"entries": {"pod-0": {"object": "Pod", "status": {}, "logs": {}, "events": [event]}}})

    async def _cancel(self, request: web.Request) -> web.Response:
        identifier = request.match_info["id"]
        self._look(identifier)
        job = self.jobs[identifier]
        if job["status"] in FINISHED:
            return detail(409, f"job is {job['status']}")
        if not named(self.misbehave.stubborn_jobs, job["output_model"]):
            self._cancelled_at.setdefault(identifier, self.clock.seconds)
            self.events.append(("cancelled", job["output_model"]))
        self._look(identifier)
        return ok(job)

    def _look(self, identifier: str) -> dict[str, Any]:
        """The job's status payload; time has its effect on the job."""
        job, trouble = self.jobs[identifier], self.misbehave
        model = job["output_model"]
        age = self.clock.seconds - self._born[identifier]
        if job["status"] in FINISHED:
            age = self._ends[identifier]
        logs = [self._log(0, "created", identifier)]
        state, steps, lost = "created", 0, None
        starved = named(trouble.starved_jobs, model)
        if age >= PENDING_FROM:
            state = "pending"
            logs.append(self._log(PENDING_FROM, "PVCCreated", identifier))
        if starved and age >= RUNNING_FROM:
            self._starved_looks[identifier] = self._starved_looks.get(identifier, 0) + 1
            logs += [self._log(RUNNING_FROM, "NotEnoughResources", identifier)] * self._starved_looks[
                identifier
            ]
        elif age >= RUNNING_FROM and not named(trouble.queued_jobs, model):
            state = "running"
            logs.append(self._log(RUNNING_FROM, "EntityHandler_0_Running", identifier))
            reach = (age - FIRST_STEP) / (LAST_STEP - FIRST_STEP)
            if named(trouble.stalled_jobs, model):
                reach = min(reach, 0.3)
            steps = max(0, min(self._steps(job), math.floor(reach * self._steps(job))))
            if age >= FIRST_STEP:
                lost = self._rejected(job)
            if age >= LAST_STEP and not named(trouble.stalled_jobs, model):
                state = "completed"
                part = named(trouble.failing_jobs, model)
                if part or named(trouble.failing_without_words, model):
                    state, lost = "failed", trouble.failing_jobs.get(part or "")
            if age >= FIRST_STEP and trouble.entity_races > 0 and job["status"] not in FINISHED:
                trouble.entity_races -= 1
                lost = "PATCH model entity answered 422: body.spec.num_parameters: field required"
            if lost:
                state = "failed"
                logs.append({**self._log(age, "failed", identifier), "detail": lost})
        if identifier in self._cancelled_at and job["status"] not in ("completed", "failed"):
            waited = self.clock.seconds - self._cancelled_at[identifier]
            state = "cancelled" if waited >= 2 else "cancelling"
        self._settle(identifier, state, age)
        return self._payload(job, steps, age, logs)

    def _settle(self, identifier: str, state: str, age: float) -> None:
        job = self.jobs[identifier]
        if job["status"] in FINISHED:
            return
        job["status"] = state
        job["updated_at"] = self.clock.naive()
        if state in FINISHED:
            self._ends[identifier] = age
            self.events.append((state, job["output_model"]))
        if state == "completed":
            failed = named(self.misbehave.failing_uploads, job["output_model"])
            entity = self.entities.models[job["output_model"]]
            entity["artifact"]["status"] = "upload_failed" if failed else "upload_completed"
            name = job["output_model"].partition("@")[0]
            self.entities.hub.repos.setdefault(("model", name), {})["adapter_config.json"] = b"{}"
            self.completed_at[identifier] = self.clock.seconds

    def _payload(
        self, job: dict[str, Any], steps: int, age: float, logs: list[dict[str, Any]]
    ) -> dict[str, Any]:
        epochs = job["hyperparameters"].get("epochs", 1)
        per_epoch = max(1, self._steps(job) // epochs)
        done = min(epochs, steps // per_epoch)
        born = self._born[job["id"]]
        payload: dict[str, Any] = {
            "created_at": job["created_at"],
            "updated_at": job["updated_at"],
            "status": job["status"],
            # By epochs, and 100 even on a job that failed at its very end.
            "percentage_done": 100.0 * done / epochs,
            "epochs_completed": done,
            "steps_completed": steps,
            "steps_per_epoch": per_epoch,
            "elapsed_time": max(0.0, age - RUNNING_FROM),
            "status_logs": logs,
        }
        if steps:
            point = {"step": steps, "timestamp": self.clock.naive(born + age), "value": 2.0 / (1 + steps)}
            points = {"train_loss": [point], "val_loss": [{**point, "value": 2.5 / (1 + steps)}]}
            payload["metrics"] = {"keys": list(points), "metrics": points}
        if job["status"] == "completed":
            payload |= {"train_loss": 0.21, "val_loss": 0.34, "best_epoch": epochs}
        if job["status"] == "failed" and not any("detail" in log for log in logs):
            payload["status_logs"] = logs[:1]  # only the "created" entry, as seen on the real service
        job["status_details"] = {k: v for k, v in payload.items() if k != "status"}
        return payload

    def _steps(self, job: dict[str, Any]) -> int:
        hyper = job["hyperparameters"]
        rows = max(1, self._rows[job["id"]])
        return math.ceil(rows / hyper.get("batch_size", 8)) * int(hyper.get("epochs", 1))

    def _rejected(self, job: dict[str, Any]) -> str | None:
        """Why the uploaded rows cannot be trained on; None where they can. Read once, when training begins."""
        if self._rows[job["id"]]:
            return None
        if job["dataset"] not in self.entities.datasets:
            return f"dataset {job['dataset']} not found"
        files = self.entities.hub.files("dataset", job["dataset"])
        for path, content in files.items():
            if not path.startswith(("training/", "validation/")):
                return f"unexpected file {path}"
            for line in content.splitlines():
                if problem := row_problem(json.loads(line)):
                    return f"{path}: {problem}"
        self._rows[job["id"]] = len(files["training/training.jsonl"].splitlines())
        return None

    def _log(self, age: float, message: str, identifier: str) -> dict[str, Any]:
        return {"updated_at": self.clock.naive(self._born[identifier] + age), "message": message}


def _reference(request: web.Request) -> str:
    return f"{request.match_info['ns']}/{request.match_info['name']}"
