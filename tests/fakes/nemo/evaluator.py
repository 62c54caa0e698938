"""The Evaluator: renders the job's templates, asks the NIM, measures, and packs per-item results into a ZIP."""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Callable
from typing import Any

import jinja2
from aiohttp import web

from tests.fakes.nemo.entities import Entities
from tests.fakes.nemo.nim import Nim
from tests.fakes.nemo.state import Clock, Misbehaviour, body_of, detail, named, ok, page

JOBS = "/v1/evaluation/jobs"
PENDING_FROM, RUNNING_FROM, DONE_AT = 1.0, 2.0, 6.0
FINISHED = {"completed", "failed", "cancelled"}


def obedient_judge(prompt: str) -> str:
    """Rates 10 where candidate and reference are the same text, else 2."""
    texts = dict(re.findall(r"^(Reference|Candidate): (.*)$", prompt, re.MULTILINE))
    same = json.loads(texts["Reference"]) == json.loads(texts["Candidate"])
    return f"On a scale from 1 to 10, thinking of 3 things:\nRATING: {10 if same else 2}"


class Evaluator:
    def __init__(self, clock: Clock, entities: Entities, nim: Nim, events: list[tuple[str, str]]) -> None:
        self.clock = clock
        self.entities = entities
        self.nim = nim
        self.events = events
        self.misbehave = Misbehaviour()
        self.judge: Callable[[str], str] = obedient_judge
        self.jobs: dict[str, dict[str, Any]] = {}
        self._born: dict[str, float] = {}
        self._ends: dict[str, float] = {}
        self._cancelled: set[str] = set()
        self._results: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post(JOBS, self._create)
        router.add_get(JOBS, self._list)
        router.add_get(f"{JOBS}/{{id}}", self._get)
        router.add_delete(f"{JOBS}/{{id}}", self._delete)
        router.add_post(f"{JOBS}/{{id}}/cancel", self._cancel)
        router.add_get(f"{JOBS}/{{id}}/results", self._result)
        router.add_get(f"{JOBS}/{{id}}/download-results", self._download)

    async def _create(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        identifier = self.clock.new_id("eval")
        now = self.clock.naive()
        self.jobs[identifier] = {
            "id": identifier,
            "status": "created",
            "status_details": {},
            "result": self.clock.new_id("evaluation_result"),
            "output_files_url": None,
            "config": {**body["config"], "namespace": "default", "name": self.clock.new_id("eval-config")},
            "target": {**body["target"], "namespace": "default", "name": self.clock.new_id("eval-target")},
            "namespace": body.get("namespace", "default"),
            "project": body.get("project"),
            "description": body.get("description"),
            "custom_fields": body.get("custom_fields", {}),
            "created_at": now,
            "updated_at": now,
        }
        self._born[identifier] = self.clock.seconds
        self.events.append(("evaluated", str(body.get("project"))))
        return ok(self.jobs[identifier], 201)

    async def _list(self, request: web.Request) -> web.Response:
        return page([self._look(identifier) for identifier in self.jobs], request.query)

    async def _get(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in self.jobs:
            return detail(404, "job not found")
        return ok(self._look(request.match_info["id"]))

    async def _delete(self, request: web.Request) -> web.Response:
        job = self.jobs.pop(request.match_info["id"], None)
        if job is None:
            return detail(404, "job not found")
        self.events.append(("deleted", str(job["project"])))
        return web.Response(status=204)

    async def _cancel(self, request: web.Request) -> web.Response:
        if not self.misbehave.evaluation_cancel:
            return detail(404, "Not Found")
        self._cancelled.add(request.match_info["id"])
        self.events.append(("cancelled", str(self.jobs[request.match_info["id"]]["project"])))
        return ok(self._look(request.match_info["id"]))

    async def _result(self, request: web.Request) -> web.Response:
        job = self._look(request.match_info["id"])
        tasks = {}
        if job["status"] == "completed":  # the entity is there from the start, empty
            tasks = {task: {"metrics": _means(rows)} for task, rows in self._results[job["id"]].items()}
        times = {"created_at": job["created_at"], "updated_at": job["updated_at"]}
        return ok(
            {
                "id": job["result"],
                "job": job["id"],
                "namespace": job["namespace"],
                **times,
                "groups": {},
                "tasks": tasks,
            }
        )

    async def _download(self, request: web.Request) -> web.Response:
        rows = self._results[request.match_info["id"]]
        if self.misbehave.results_without_rows > 0:
            self.misbehave.results_without_rows -= 1
            rows = {task: found[1:] for task, found in rows.items()}
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("../../outside.txt", "never to be unpacked")
            archive.writestr("job/automated/config.yml", "type: custom")
            archive.writestr("job/automated/results.json", json.dumps(rows))  # with bare NaN
        return web.Response(body=packed.getvalue(), content_type="application/zip")

    def _look(self, identifier: str) -> dict[str, Any]:
        job, trouble = self.jobs[identifier], self.misbehave
        if job["status"] in FINISHED:
            return job
        age = self.clock.seconds - self._born[identifier]
        project = str(job["project"])
        job["status"] = "created" if age < PENDING_FROM else "pending" if age < RUNNING_FROM else "running"
        tasks = job["config"]["tasks"]
        details: dict[str, Any] = {"progress": None}  # null throughout, as seen on the real service
        if identifier in self._cancelled:
            job["status"] = "cancelled"
        elif age >= DONE_AT and not named(trouble.stalled_evaluations, project):
            if named(trouble.failing_evaluations, project):
                job["status"], details["message"] = "failed", "Error running inference: connection refused"
            else:
                self._results[identifier] = {
                    name: self._run(task, job["target"]["model"]) for name, task in tasks.items()
                }
                details["samples_processed"] = sum(map(len, self._results[identifier].values()))
                job["status"] = "completed"
        if job["status"] not in ("created", "pending"):
            state = job["status"] if job["status"] in ("completed", "failed") else "running"
            details["task_status"] = dict.fromkeys(tasks, state)
        if details != job["status_details"]:
            job["updated_at"] = self.clock.naive()
        job["status_details"] = details
        return job

    def _run(self, task: dict[str, Any], model: str) -> list[dict[str, Any]]:
        rows = []
        for line in self.entities.rows_of(task["dataset"]["files_url"]):
            item = json.loads(line)
            template = task["params"]["template"]
            body = {"model": model, **{k: v for k, v in template.items() if k not in ("messages", "tools")}}
            for key in ("messages", "tools"):
                if key in template:
                    body[key] = json.loads(_rendered(template[key], item=item))
            response = self.nim.complete(body)
            message = response["choices"][0]["message"]
            sample = {"output_text": message.get("content") or "", "response": response}
            requests = [{"request": body, "response": response}]
            metrics = {
                name: {"scores": self._measure(metric, item, sample)}
                for name, metric in task["metrics"].items()
            }
            rows.append({"item": item, "sample": sample, "metrics": metrics, "requests": requests})
        return rows

    def _measure(
        self, metric: dict[str, Any], item: dict[str, Any], sample: dict[str, Any]
    ) -> dict[str, Any]:
        params = metric["params"]
        if metric["type"] == "tool-calling":
            truth = json.loads(_rendered(params["tool_calls_ground_truth"], item=item))
            made = sample["response"]["choices"][0]["message"].get("tool_calls") or []
            wanted = [(c["function"]["name"], c["function"]["arguments"]) for c in truth]
            called = [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in made]
            names = float([n for n, _ in wanted] == [n for n, _ in called])
            return {
                "function_name_accuracy": {"value": names, "stats": None},
                "function_name_and_args_accuracy": {"value": float(wanted == called), "stats": None},
            }
        if metric["type"] == "string-check":
            left, _, right = params["check"]
            same = _rendered(left, item=item, sample=sample) == _rendered(right, item=item, sample=sample)
            return {"string-check": {"value": float(same), "stats": None}}
        prompt = _rendered(params["template"]["messages"][0]["content"], item=item, sample=sample)
        said = self.judge(prompt)
        scores = {}
        for name, score in params["scores"].items():
            match = re.search(score["parser"]["pattern"], said)
            scores[name] = {"value": int(match.group(1)) if match else math.nan, "stats": None}
        return scores


def _rendered(template: str, **context: Any) -> str:
    return str(jinja2.Environment().from_string(template).render(**context))


def _means(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The `/results` shape, which is not that of a row."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for metric, result in row["metrics"].items():
            for score, entry in result["scores"].items():
                values.setdefault((metric, score), []).append(entry["value"])
    metrics: dict[str, Any] = {}
    for (metric, score), found in values.items():
        usable = [value for value in found if not math.isnan(value)]
        mean = sum(usable) / len(usable) if usable else 0.0
        stats = {"count": len(usable), "sum": sum(usable), "mean": mean}
        metrics.setdefault(metric, {"scores": {}})["scores"][score] = {"value": mean, "stats": stats}
    return metrics
