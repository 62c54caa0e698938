"""A provider that speaks the OpenAI API over a real socket, keeps state, and misbehaves as told.

Files, fine-tuning jobs with events, models, chat (plain and streamed), embeddings, and what vLLM adds: adapters and
tokens. Written from the API's reference; a test holds it against the official client's own types.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

QUALITY = {"base": 0.2, "icl": 0.5, "tuned": 0.95}
STEPS = 100


@dataclass
class Faults:
    """What goes wrong."""

    fail_at_step: int | None = None
    lost_creates: int = 0
    bad_polls: int = 0
    stuck_at_step: int | None = None
    stays_queued: bool = False
    ignores_cancel: bool = False
    drops_metadata: bool = False
    unknown_to_chat: int = 0  # requests for which a fresh model is unknown
    refuses_files: bool = False
    answer_seconds: float = 0.0
    chat: dict[str, str] = field(
        default_factory=dict
    )  # text of the last user message, or "*" -> kind of fault
    bad_texts: set[str] = field(default_factory=set)  # texts that the embedder refuses
    no_input_type: bool = False
    embeddings_down: bool = False


class OpenAIProvider:
    """Runs on a loopback port in a thread of its own.

    Args:
        oracle: Text of the last user message -> the right assistant message, which tuned models mostly know.
        key: Wanted as a bearer token; None wants none.
        tls: Serves https with this context.
    """

    def __init__(
        self,
        oracle: dict[str, dict[str, Any]] | None = None,
        key: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.oracle = oracle or {}
        self.key = key
        self._tls = tls
        self.faults = Faults()
        self.models: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.steps_per_look = 50
        self.tokenize: Callable[[dict[str, Any]], list[int]] = lambda body: list(json.dumps(body).encode())
        self.chats_under_way = self.most_chats = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        for name in ("small-a", "small-b"):
            self.add_model(name)

    def __enter__(self) -> OpenAIProvider:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def add_model(self, name: str, **more: Any) -> None:
        self.models[name] = {"id": name, "object": "model", "created": 1, "owned_by": "fake", **more}

    def requests(self, method: str, path: str) -> list[Any]:
        """Bodies of the requests to one path, in order."""
        return [body for m, p, body in self.asked if (m, p) == (method, path)]

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        left = asyncio.all_tasks(self._loop)  # handlers that hang on purpose
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=64 * 2**20, middlewares=[self._guard])
        add = app.router.add_route
        add("GET", "/v1/models", self._list_models)
        add("POST", "/v1/chat/completions", self._chat)
        add("POST", "/v1/embeddings", self._embed)
        add("POST", "/v1/files", self._upload)
        add("GET", "/v1/files", self._list_files)
        add("GET", "/v1/files/{id}", self._file)
        add("DELETE", "/v1/files/{id}", self._delete_file)
        add("POST", "/v1/fine_tuning/jobs", self._create_job)
        add("GET", "/v1/fine_tuning/jobs", self._list_jobs)
        add("GET", "/v1/fine_tuning/jobs/{id}", self._job)
        add("GET", "/v1/fine_tuning/jobs/{id}/events", self._events)
        add("POST", "/v1/fine_tuning/jobs/{id}/cancel", self._cancel)
        add("POST", "/v1/load_lora_adapter", self._load)
        add("POST", "/v1/unload_lora_adapter", self._unload)
        add("POST", "/tokenize", self._tokenize)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls, backlog=512).start()
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return refusal(401, "Incorrect API key provided.", "invalid_api_key")
        if request.content_type == "application/json" and request.can_read_body:
            self.asked.append((request.method, request.path, await request.json()))
        elif not request.can_read_body:
            self.asked.append((request.method, request.path, dict(request.query)))
        response: web.StreamResponse = await handler(request)
        return response

    # --- models and chat ---------------------------------------------------------------------------------------

    async def _list_models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": list(self.models.values())})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.chats_under_way += 1
        self.most_chats = max(self.most_chats, self.chats_under_way)
        try:
            await asyncio.sleep(self.faults.answer_seconds)
            return await self._answer(request)
        finally:
            self.chats_under_way -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        model = body["model"]
        if model in self.models and self.models[model]["owned_by"] == "tuned" and self.faults.unknown_to_chat:
            self.faults.unknown_to_chat -= 1
            return refusal(404, f"The model `{model}` does not exist", "model_not_found")
        if model not in self.models:
            return refusal(404, f"The model `{model}` does not exist", "model_not_found")
        users = [m for m in body["messages"] if m["role"] == "user"]
        question = text_of(users[-1]["content"]) if users else ""
        fault = self.faults.chat.get(question) or self.faults.chat.get("*")
        if fault and question != "Hello":
            return await _CHAT_FAULTS[fault](request, model)
        kind = "tuned" if self.models[model]["owned_by"] == "tuned" else "icl" if len(users) > 1 else "base"
        luck = int(hashlib.sha256(f"{kind} {question}".encode()).hexdigest()[:8], 16) / 2**32
        right = self.oracle.get(question)
        answer = (
            right if right and luck < QUALITY[kind] else {"role": "assistant", "content": "I am not sure."}
        )
        if body.get("stream"):
            return await _streamed(request, model, answer)
        return web.json_response(completion_of(model, answer))

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.faults.embeddings_down:
            return refusal(503, "The embedder is down.")
        if self.faults.no_input_type and "input_type" in body:
            return refusal(400, "Unrecognized request argument supplied: input_type")
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        if any(text in self.faults.bad_texts or not text for text in texts):
            return refusal(400, "'$.input' is invalid.")
        data = [{"object": "embedding", "index": i, "embedding": vector_of(t)} for i, t in enumerate(texts)]
        usage = {"prompt_tokens": sum(map(len, texts)) // 4, "total_tokens": sum(map(len, texts)) // 4}
        return web.json_response(
            {"object": "list", "data": data[::-1], "model": body["model"], "usage": usage}
        )

    # --- files -------------------------------------------------------------------------------------------------

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        part, purpose = form["file"], form["purpose"]
        assert isinstance(part, web.FileField)
        assert purpose == "fine-tune"
        content = part.file.read()
        identity = f"file-{len(self.contents) + 1}"
        self.contents[identity] = content
        self.files[identity] = {
            "id": identity,
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": part.filename,
            "purpose": purpose,
            "status": "error" if self.faults.refuses_files else "processed",
            "status_details": "Invalid file format." if self.faults.refuses_files else None,
        }
        return web.json_response(self.files[identity])

    async def _list_files(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": list(self.files.values()), "has_more": False})

    async def _file(self, request: web.Request) -> web.Response:
        found = self.files.get(request.match_info["id"])
        return web.json_response(found) if found else refusal(404, "No such File object")

    async def _delete_file(self, request: web.Request) -> web.Response:
        if self.files.pop(request.match_info["id"], None) is None:
            return refusal(404, "No such File object")
        return web.json_response({"id": request.match_info["id"], "object": "file", "deleted": True})

    # --- fine-tuning -------------------------------------------------------------------------------------------

    async def _create_job(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["training_file"] not in self.files:
            return refusal(400, f"invalid training_file: {body['training_file']}")
        if body["model"] not in self.models:
            return refusal(404, f"The model `{body['model']}` does not exist", "model_not_found")
        if trouble := bad_rows(self.contents[body["training_file"]]):
            return refusal(400, trouble)
        identity = f"ftjob-{len(self.jobs) + 1}"
        hyper = body["method"]["supervised"]["hyperparameters"]
        self.jobs[identity] = {
            "id": identity,
            "object": "fine_tuning.job",
            "model": body["model"],
            "created_at": int(time.time()) + len(self.jobs),
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
            "metadata": None if self.faults.drops_metadata else body.get("metadata"),
            "step": 0,
        }
        if self.faults.lost_creates:
            self.faults.lost_creates -= 1
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return web.json_response(public(self.jobs[identity]))

    async def _list_jobs(self, request: web.Request) -> web.Response:
        jobs = [public(job) for job in reversed(self.jobs.values())]
        if after := request.query.get("after"):
            jobs = jobs[[job["id"] for job in jobs].index(after) + 1 :]
        limit = min(int(request.query.get("limit", 20)), 2)  # small pages: whoever looks must turn them
        return web.json_response({"object": "list", "data": jobs[:limit], "has_more": len(jobs) > limit})

    async def _job(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        if self.faults.bad_polls:
            self.faults.bad_polls -= 1
            return web.Response(status=502, text="<html>Bad gateway</html>", content_type="text/html")
        self._advance(job)
        return web.json_response(public(job))

    async def _events(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        listed: list[dict[str, Any]] = [event(job, 0, "message", "Created fine-tuning job", {})]
        for step in range(10, job["step"] + 1, 10):
            loss = round(2.0 - 1.5 * step / STEPS, 3)
            data = {"step": step, "total_steps": STEPS, "train_loss": loss, "valid_loss": loss + 0.1}
            listed.append(event(job, step, "metrics", f"Step {step}/{STEPS}: training loss={loss}", data))
        listed.reverse()
        return web.json_response(
            {"object": "list", "data": listed[: int(request.query.get("limit", 20))], "has_more": False}
        )

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["id"]]
        if job["status"] not in ("queued", "running"):
            return refusal(400, f"Job has already {job['status']}.")
        if not self.faults.ignores_cancel:
            job["status"], job["finished_at"] = "cancelled", int(time.time())
        return web.json_response(public(job))

    def _advance(self, job: dict[str, Any]) -> None:
        if job["status"] == "queued" and not self.faults.stays_queued:
            job["status"] = "running"
        elif job["status"] == "running":
            job["step"] = min(STEPS, job["step"] + self.steps_per_look, self.faults.stuck_at_step or STEPS)
            if self.faults.fail_at_step is not None and job["step"] >= self.faults.fail_at_step:
                job |= {"step": self.faults.fail_at_step, "status": "failed", "finished_at": int(time.time())}
                job["error"] = {"code": "server_error", "message": "GPU fell off the bus.", "param": None}
            elif job["step"] == STEPS:
                tuned = f"ft:{job['model']}:org:{job['user_provided_suffix']}:{job['id'][6:]}"
                self.add_model(tuned, owned_by="tuned")
                job |= {"status": "succeeded", "finished_at": int(time.time()), "fine_tuned_model": tuned}
                job["trained_tokens"] = 4_321

    # --- vLLM --------------------------------------------------------------------------------------------------

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["lora_name"] in self.models:
            return refusal(400, f"The lora adapter '{body['lora_name']}' has already been loaded.")
        self.add_model(body["lora_name"], owned_by="tuned", root=body["lora_path"], parent="small-a")
        return web.Response(text=f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if self.models.pop(name, None) is None:
            return refusal(404, f"The lora adapter '{name}' cannot be found.")
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def _tokenize(self, request: web.Request) -> web.Response:
        tokens = self.tokenize(await request.json())
        return web.json_response({"count": len(tokens), "max_model_len": 4096, "tokens": tokens})


def refusal(status: int, message: str, code: str | None = None) -> web.Response:
    """An error in the API's shape."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return web.json_response({"error": error}, status=status)


def completion_of(model: str, message: dict[str, Any]) -> dict[str, Any]:
    """A chat completion in the API's shape."""
    count = max(1, len(json.dumps(message)) // 4)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"refusal": None, **message},
                "logprobs": None,
                "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": count, "total_tokens": 100 + count},
    }


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


def vector_of(text: str) -> list[float]:
    """A small vector in which texts that share words are close."""
    vector = [0.0] * 64
    for word in text.lower().split():
        vector[int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) % 64] += 1.0
    return vector


def text_of(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content or "")


async def _hang(request: web.Request, model: str) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def _malformed(request: web.Request, model: str) -> web.StreamResponse:
    return web.Response(body=b'{"choices": [{"message": {"content": "half', content_type="application/json")


async def _overflow(request: web.Request, model: str) -> web.StreamResponse:
    message = "This model's maximum context length is 4096 tokens. However, your messages resulted in 9001."
    return refusal(400, message, "context_length_exceeded")


async def _megabyte(request: web.Request, model: str) -> web.StreamResponse:
    return web.json_response(completion_of(model, {"role": "assistant", "content": "x" * 1_000_000}))


async def _invented(request: web.Request, model: str) -> web.StreamResponse:
    call = {"id": "c", "type": "function", "function": {"name": "launch_rocket", "arguments": "{}"}}
    return web.json_response(
        completion_of(model, {"role": "assistant", "content": None, "tool_calls": [call]})
    )


_CHAT_FAULTS = {
    "hang": _hang,
    "malformed": _malformed,
    "overflow": _overflow,
    "megabyte": _megabyte,
    "invented": _invented,
}


async def _streamed(request: web.Request, model: str, message: dict[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)

    async def send(choices: list[Any], **more: Any) -> None:
        piece = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        await response.write(b"data: " + json.dumps({**piece, "choices": choices, **more}).encode() + b"\n\n")

    def choice(delta: dict[str, Any], finish: str | None = None) -> list[Any]:
        return [{"index": 0, "delta": delta, "finish_reason": finish}]

    await send(choice({"role": "assistant", "content": ""}))
    await asyncio.sleep(0.02)
    for word in (message.get("content") or "").split(" "):
        await send(choice({"content": word + " "}))
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        half = len(function["arguments"]) // 2
        head = {"name": function["name"], "arguments": function["arguments"][:half]}
        await send(
            choice({"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": head}]})
        )
        rest = {"arguments": function["arguments"][half:]}
        await send(choice({"tool_calls": [{"index": index, "function": rest}]}))
    await send(choice({}, "tool_calls" if message.get("tool_calls") else "stop"))
    await send([], usage={"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105})
    await response.write(b"data: [DONE]\n\n")
    return response
