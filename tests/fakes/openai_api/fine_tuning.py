"""Files and fine-tuning jobs with their events. A job goes on by some steps each time it is looked at."""

from __future__ import annotations

import json
import time
from typing import Any

from aiohttp import web

from tests.fakes.openai_api.state import ProviderState, refusal

STEPS = 100


class FineTuning:
    def __init__(self, state: ProviderState) -> None:
        self.state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/files", self._upload)
        router.add_get("/v1/files", self._list_files)
        router.add_get("/v1/files/{id}", self._file)
        router.add_delete("/v1/files/{id}", self._delete_file)
        router.add_post("/v1/fine_tuning/jobs", self._create_job)
        router.add_get("/v1/fine_tuning/jobs", self._list_jobs)
        router.add_get("/v1/fine_tuning/jobs/{id}", self._job)
        router.add_get("/v1/fine_tuning/jobs/{id}/events", self._events)
        router.add_post("/v1/fine_tuning/jobs/{id}/cancel", self._cancel)

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        part, purpose = form["file"], form["purpose"]
        assert isinstance(part, web.FileField)
        assert purpose == "fine-tune"
        content = part.file.read()
        identity = f"file-{len(self.state.contents) + 1}"
        self.state.contents[identity] = content
        self.state.files[identity] = {
            "id": identity,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": part.filename,
            "purpose": purpose,
            "status": "error" if self.state.faults.refuses_files else "processed",
            "status_details": "Invalid file format." if self.state.faults.refuses_files else None,
        }
        return web.json_response(self.state.files[identity])

    async def _list_files(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"object": "list", "data": list(self.state.files.values()), "has_more": False}
        )

    async def _file(self, request: web.Request) -> web.Response:
        found = self.state.files.get(request.match_info["id"])
        return web.json_response(found) if found else refusal(404, "No such File object")

    async def _delete_file(self, request: web.Request) -> web.Response:
        if self.state.files.pop(request.match_info["id"], None) is None:
            return refusal(404, "No such File object")
        return web.json_response({"id": request.match_info["id"], "object": "file", "deleted": True})

    async def _create_job(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["training_file"] not in self.state.files:
            return refusal(400, f"invalid training_file: {body['training_file']}")
        if body["model"] not in self.state.models:
            return refusal(404, f"The model `{body['model']}` does not exist", "model_not_found")
        if trouble := bad_rows(self.state.contents[body["training_file"]]):
            return refusal(400, trouble)
        identity = f"ftjob-{len(self.state.jobs) + 1}"
        hyper = body["method"]["supervised"]["hyperparameters"]
        self.state.jobs[identity] = {
            "id": identity,
            "object": "fine_tuning.job",
            "model": body["model"],
            "created_at": int(time.time()) + len(self.state.jobs),
            "finished_at": None,
            "fine_tuned_model": None,
            "organization_id": "org-1",
            "result_files": [],
            "status": "queued",
            "validation_file": body.get("validation_file"),
            "training_file": body["training_file"],
            "hyperparameters": hyper,
            "method": body["method"],
            "trained_tokens": None,
            "error": None,
            "seed": body.get("seed", 0),
            "user_provided_suffix": body.get("suffix"),
            "metadata": None if self.state.faults.drops_metadata else body.get("metadata"),
            "step": 0,
        }
        if self.state.faults.lost_creates:
            self.state.faults.lost_creates -= 1
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return web.json_response(public(self.state.jobs[identity]))

    async def _list_jobs(self, request: web.Request) -> web.Response:
        jobs = [public(job) for job in reversed(self.state.jobs.values())]
        if after := request.query.get("after"):
            jobs = jobs[[job["id"] for job in jobs].index(after) + 1 :]
        limit = min(int(request.query.get("limit", 20)), 2)  # small pages: whoever looks must turn them
        return web.json_response({"object": "list", "data": jobs[:limit], "has_more": len(jobs) > limit})

    async def _job(self, request: web.Request) -> web.Response:
        job = self.state.jobs[request.match_info["id"]]
        if self.state.faults.bad_polls:
            self.state.faults.bad_polls -= 1
            return web.Response(status=502, text="<html>Bad gateway</html>", content_type="text/html")
        self._advance(job)
        return web.json_response(public(job))

    async def _events(self, request: web.Request) -> web.Response:
        if self.state.faults.no_events:
            return refusal(404, "Not Found")
        job = self.state.jobs[request.match_info["id"]]
        listed: list[dict[str, Any]] = [event(job, 0, "message", "Created fine-tuning job", {})]
        for step in range(10, job["step"] + 1, 10):
            loss = round(2.0 - 1.5 * step / STEPS, 3)
            data = {"step": step, "total_steps": STEPS, "train_loss": loss, "valid_loss": loss + 0.1}
            listed.append(event(job, step, "metrics", f"Step {step}/{STEPS}: training loss={loss}", data))
        listed.reverse()
        if after := request.query.get("after"):
            listed = listed[[one["id"] for one in listed].index(after) + 1 :]
        limit = min(int(request.query.get("limit", 20)), 4)  # small pages here too
        return web.json_response({"object": "list", "data": listed[:limit], "has_more": len(listed) > limit})

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self.state.jobs[request.match_info["id"]]
        if job["status"] not in ("queued", "running"):
            return refusal(400, f"Job has already {job['status']}.")
        if not self.state.faults.ignores_cancel:
            job["status"], job["finished_at"] = "cancelled", int(time.time())
        return web.json_response(public(job))

    def _advance(self, job: dict[str, Any]) -> None:
        if job["status"] == "queued" and not self.state.faults.stays_queued:
            job["status"] = "running"
        elif job["status"] == "running":
            job["step"] = min(
                STEPS, job["step"] + self.state.steps_per_look, self.state.faults.stuck_at_step or STEPS
            )
            if self.state.faults.fail_at_step is not None and job["step"] >= self.state.faults.fail_at_step:
                job |= {
                    "step": self.state.faults.fail_at_step,
                    "status": "failed",
                    "finished_at": int(time.time()),
                }
                job["error"] = {"code": "server_error", "message": "GPU fell off the bus.", "param": None}
            elif job["step"] == STEPS:
                tuned = f"ft:{job['model']}:org:{job['user_provided_suffix']}:{job['id'][6:]}"
                self.state.add_model(tuned, owned_by="tuned")
                job |= {"status": "succeeded", "finished_at": int(time.time()), "fine_tuned_model": tuned}
                job["trained_tokens"] = 4_321


def public(job: dict[str, Any]) -> dict[str, Any]:
    """A job without what the server keeps to itself."""
    return {key: value for key, value in job.items() if key != "step"}


def event(job: dict[str, Any], step: int, kind: str, message: str, data: dict[str, Any]) -> dict[str, Any]:
    """An event of a job in the API's shape."""
    return {
        "id": f"ftevent-{job['id']}-{step}",
        "object": "fine_tuning.job.event",
        "created_at": job["created_at"] + step,
        "level": "info",
        "message": message,
        "type": kind,
        "data": data,
    }


def bad_rows(content: bytes) -> str | None:
    """What the API finds wrong with a training file."""
    rows = [json.loads(line) for line in content.splitlines()]
    if len(rows) < 10:
        return f"Training file has {len(rows)} example(s), but must have at least 10 examples"
    for number, row in enumerate(rows, 1):
        if "tools" in row and not row["tools"]:
            return f"Line {number}: tools must not be empty"
        for message in row["messages"]:
            for call in message.get("tool_calls") or ():
                if not isinstance(call["function"]["arguments"], str):
                    return f"Line {number}: arguments must be a string"
    return None
