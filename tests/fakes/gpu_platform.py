"""A GPU platform that works, over a real socket, in milliseconds: deployments, fine-tunes and an OpenAI chat endpoint.

It knows the right answers (`oracle`: text of the last user message → assistant message) and gives them as often as the
kind of model deserves: seldom as a base, more with in-context examples, mostly when fine-tuned. What it is told to
break, it breaks.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx
from aiohttp import web
from prefect.blocks.core import Block
from pydantic import Field

from blocks.ports import Endpoint, FineTuneRequest
from flywheel.config import CandidateConfig
from flywheel.errors import RemoteJobCancelled, RemoteJobFailed, RemoteRejected, TransientRemoteError
from flywheel.progress import Progress
from flywheel.results import Customization, LossPoint
from flywheel.token_counters import UpperBoundCounter

QUALITY = {"base": 0.2, "icl": 0.5, "tuned": 0.95}


@dataclass
class Misbehaviour:
    """What goes wrong, by a part of the deployment's or job's name."""

    failing_deployments: set[str] = field(default_factory=set)
    failing_jobs: set[str] = field(default_factory=set)
    refusing_models: set[str] = field(default_factory=set)
    train_seconds: float = 0.05
    answer_seconds: float = 0.0
    lost_deploy_answers: int = 0


class GpuPlatformServer:
    """Runs on a loopback port in a thread of its own; `url` is where."""

    def __init__(self, oracle: dict[str, dict[str, Any]]) -> None:
        self.oracle = oracle
        self.misbehave = Misbehaviour()
        self.deployments: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.events: list[tuple[str, str]] = []
        self.on_event: Callable[[str, str], None] = _nothing
        """Called with kind and name when something happens, before it is answered."""
        self.asked = 0
        self.unsure = "I am not sure."
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> GpuPlatformServer:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    def forget(self) -> None:
        """Back to the state of a fresh server."""
        self.misbehave = Misbehaviour()
        self.deployments.clear()
        self.jobs.clear()
        self.events.clear()
        self.on_event = _nothing
        self.asked = 0

    def _note(self, kind: str, name: str) -> None:
        self.events.append((kind, name))
        self.on_event(kind, name)

    def happened(self, kind: str) -> list[str]:
        """Names of what a kind of event happened to, in order."""
        return [name for what, name in self.events if what == kind]

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_put("/deployments/{name}", self._deploy)
        app.router.add_delete("/deployments/{name}", self._shut_down)
        app.router.add_put("/jobs/{name}", self._submit)
        app.router.add_get("/jobs/{name}", self._status)
        app.router.add_delete("/jobs/{name}", self._cancel)
        app.router.add_post("/v1/chat/completions", self._complete)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _deploy(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        body = await request.json()
        if _named(self.misbehave.failing_deployments, name):
            return web.json_response({"detail": "image not found"}, status=422)
        if name not in self.deployments:
            self.deployments[name] = body
            self._note("deployed", name)
        if self.misbehave.lost_deploy_answers > 0:
            self.misbehave.lost_deploy_answers -= 1
            return web.json_response({"detail": "gateway"}, status=502)
        return web.json_response({"model": body["model"]})

    async def _shut_down(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if self.deployments.pop(name, None) is None:
            return web.json_response({"detail": "not found"}, status=404)
        self._note("shut down", name)
        return web.json_response({})

    async def _submit(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.jobs or self.jobs[name]["state"] == "cancelled":
            loop = asyncio.get_running_loop()
            self.jobs[name] = {"state": "running", "ends": loop.time() + self.misbehave.train_seconds}
            self._note("submitted", name)
        return web.json_response({})

    async def _status(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        job = self.jobs[name]
        if job["state"] == "running" and asyncio.get_running_loop().time() >= job["ends"]:
            job["state"] = "failed" if _named(self.misbehave.failing_jobs, name) else "completed"
        return web.json_response({"state": job["state"]})

    async def _cancel(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        job = self.jobs.get(name)
        if job is None:
            return web.json_response({"detail": "not found"}, status=404)
        if job["state"] == "running":
            job["state"] = "cancelled"
            self._note("cancelled", name)
        return web.json_response({"state": job["state"]})

    async def _complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked += 1
        await asyncio.sleep(self.misbehave.answer_seconds)
        if _named(self.misbehave.refusing_models, body["model"]):
            return web.json_response({"error": {"message": "no such model"}}, status=404)
        questions = [message for message in body["messages"] if message["role"] == "user"]
        kind = "tuned" if body["model"].endswith(":tuned") else "icl" if len(questions) > 1 else "base"
        question = _text(questions[-1]["content"])
        luck = int(hashlib.sha256(f"{kind} {question}".encode()).hexdigest()[:8], 16) / 2**32
        right = self.oracle.get(question)
        message = right if right and luck < QUALITY[kind] else {"role": "assistant", "content": self.unsure}
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        tokens_in, tokens_out = len(json.dumps(body)) // 4, max(1, len(json.dumps(message)) // 4)
        return web.json_response(
            {
                "id": f"chatcmpl-{self.asked}",
                "object": "chat.completion",
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": finish}],
                "usage": {
                    "prompt_tokens": tokens_in,
                    "completion_tokens": tokens_out,
                    "total_tokens": tokens_in + tokens_out,
                },
            }
        )


class GpuPlatform:
    """The client side: the `Platform` port over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def context_length(self, candidate: CandidateConfig) -> int:
        return 100_000

    async def token_counter(self, candidate: CandidateConfig) -> UpperBoundCounter:
        return UpperBoundCounter()

    async def deploy(self, name: str, candidate: CandidateConfig, progress: Progress) -> Endpoint:
        progress(f"deploy {candidate.name}", 0, 1)
        answer = await self._call("PUT", f"/deployments/{name}", {"model": candidate.model})
        progress(f"deploy {candidate.name}", 1, 1)
        return Endpoint(base_url=f"{self.url}/v1", model=answer["model"])

    async def fine_tune(self, request: FineTuneRequest, progress: Progress) -> Customization:
        await self._call("PUT", f"/jobs/{request.name}", {})
        try:
            while (state := (await self._call("GET", f"/jobs/{request.name}"))["state"]) == "running":
                progress(f"fine-tune {request.name}", 0, 1)
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            await asyncio.shield(self._call("DELETE", f"/jobs/{request.name}"))
            raise
        if state == "cancelled":
            raise RemoteJobCancelled(f"The fine-tune {request.name} was cancelled on the platform.")
        if state == "failed":
            raise RemoteJobFailed(f"The fine-tune {request.name} failed on the platform.")
        rows = len((request.train / "training.jsonl").read_bytes().splitlines())
        return Customization(
            job=request.name,
            model=f"{request.model}:tuned",
            status="completed",
            train_rows=rows,
            tokens=rows * 100,
            runtime_seconds=12.0,
            losses=[
                LossPoint(step, 2 / step, 2.2 / step if step % 5 == 0 else None) for step in range(1, 21)
            ],
        )

    async def serve_customization(self, name: str, customization: Customization) -> Endpoint:
        return Endpoint(base_url=f"{self.url}/v1", model=str(customization.model))

    async def shut_down(self, name: str) -> None:
        await self._call("DELETE", f"/deployments/{name}", missing_is_fine=True)

    async def cancel_fine_tune(self, name: str) -> None:
        await self._call("DELETE", f"/jobs/{name}", missing_is_fine=True)

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, missing_is_fine: bool = False
    ) -> dict[str, Any]:
        async with httpx.AsyncClient(base_url=self.url, timeout=60, verify=False) as client:
            answer = await client.request(method, path, json=body)
        if answer.status_code == 404 and missing_is_fine:
            return {}
        if answer.status_code >= 500:
            raise TransientRemoteError(f"The platform answered {answer.status_code} to {method} {path}.")
        if answer.status_code >= 400:
            raise RemoteRejected(f"The platform refused {method} {path}: {answer.json()['detail']}.")
        document: dict[str, Any] = answer.json()
        return document


class GpuPlatformBlock(Block):
    """Saved connection to the fake platform."""

    _block_type_name: ClassVar[str] = "Fake GPU Platform"
    _block_type_slug: ClassVar[str] = "fake-gpu-platform"

    url: str = Field(description="Where the platform listens.")

    def connect(self) -> GpuPlatform:
        return GpuPlatform(self.url)


def _nothing(kind: str, name: str) -> None:
    """Nobody looks on."""


def _named(parts: set[str], name: str) -> bool:
    return any(part in name for part in parts)


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content)
