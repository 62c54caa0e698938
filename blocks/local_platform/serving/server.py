"""A worker process that serves one base model and its adapters over the OpenAI chat protocol, on loopback alone.

    python -m blocks.local_platform.serving.server --folder DIR --state FILE --model NAME \\
        --owner-pid N --owner-started S

It writes `FILE` (a `ServerState`) once it listens. It ends by itself when its owner is gone, so that a killed run
leaves nothing behind, and when nobody asked anything for a day.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from blocks.local_platform.atomic_json import write_json
from blocks.local_platform.models.messages import UnusableChat
from blocks.local_platform.processes import ProcessRef
from blocks.local_platform.serving.chat_requests import BadRequest, completion, generation_of
from flywheel.errors import FlywheelError

if TYPE_CHECKING:
    from blocks.local_platform.serving.engine import Engine
    from blocks.local_platform.serving.generation import Generation

SECONDS_WITHOUT_OWNER = 10.0
SECONDS_IDLE = 24 * 3600.0
LARGEST_BODY = 64 << 20

logger = logging.getLogger(__name__)


class ServerState(msgspec.Struct, frozen=True):
    """How to find a running server again."""

    process: ProcessRef
    port: int
    model: str
    folder: str


class ChatServer:
    """The HTTP side. `base` is loaded under the name `model`."""

    def __init__(self, engine: Engine, base: Any, model: str, owner: ProcessRef) -> None:
        self._engine = engine
        self._base = base
        self._model = model
        self._owner = owner
        self._used = time.monotonic()
        self._loading = asyncio.Lock()

    def application(self) -> web.Application:
        """Routes of the server."""
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[_errors_of_the_protocol])
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/throughput", self._throughput)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/v1/load_lora_adapter", self._load_adapter)
        app.router.add_post("/v1/unload_lora_adapter", self._unload_adapter)
        app.router.add_post("/owner", self._take_over)
        return app

    async def until_forsaken(self) -> None:
        """Return when the owner has been gone for a while or nobody has asked for long."""
        seen = time.monotonic()
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            if self._engine.busy:
                self._used = now
            if self._owner.is_alive():
                seen = now
            if now - seen > SECONDS_WITHOUT_OWNER or now - self._used > SECONDS_IDLE:
                logger.warning("The owner is gone or nobody asks any more: ending.")
                return

    async def _models(self, request: web.Request) -> web.Response:
        listed = [
            {
                "id": name,
                "object": "model",
                "owned_by": "flywheel",
                "max_model_len": self._engine.context_length,
            }
            for name in self._engine.models
        ]
        return web.json_response({"object": "list", "data": listed})

    async def _throughput(self, request: web.Request) -> web.Response:
        return web.json_response(self._engine.throughput.rates())

    async def _complete(self, request: web.Request) -> web.Response:
        self._used = time.monotonic()
        body = await _json_body(request)
        generation = generation_of(body, self._engine.format, self._engine.context_length)
        if generation.model not in self._engine.models:
            raise BadRequest(
                f"The model {generation.model!r} is not served here.",
                status=404,
                code="model_not_found",
                param="model",
            )
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def tell(_: Generation) -> None:
            loop.call_soon_threadsafe(ended.set)

        generation.on_end = tell
        self._engine.submit(generation)
        try:
            await ended.wait()
        except asyncio.CancelledError:  # the client went away
            generation.abandoned.set()
            raise
        if isinstance(generation.error, LookupError):
            raise BadRequest(
                f"The model {generation.model!r} was unloaded.", status=404, code="model_not_found"
            )
        if generation.error is not None:
            raise generation.error
        return web.json_response(completion(generation, body, self._engine.format))

    async def _load_adapter(self, request: web.Request) -> web.Response:
        body = await _json_body(request)
        name, path = body.get("lora_name"), body.get("lora_path")
        if not isinstance(name, str) or not isinstance(path, str) or not name:
            raise BadRequest("lora_name and lora_path must be strings.")
        if name == self._model:
            raise BadRequest(f"{name!r} is the name of the base model; choose another.", param="lora_name")
        from blocks.local_platform.models.adapters import merged

        async with self._loading:
            if name not in self._engine.models:
                model = await asyncio.to_thread(merged, self._base, Path(path))
                self._engine.add_model(name, model)
        return web.json_response({"status": f"{name} is served"})

    async def _unload_adapter(self, request: web.Request) -> web.Response:
        name = (await _json_body(request)).get("lora_name")
        if name == self._model or not self._engine.remove_model(str(name)):
            raise BadRequest(f"There is no adapter {name!r}.", status=404, code="model_not_found")
        return web.json_response({"status": f"{name} is not served any more"})

    async def _take_over(self, request: web.Request) -> web.Response:
        try:
            self._owner = msgspec.convert(await _json_body(request), ProcessRef)
        except msgspec.ValidationError as error:
            raise BadRequest(str(error)) from error
        return web.json_response({"status": "owned"})


@web.middleware
async def _errors_of_the_protocol(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
        return response
    except BadRequest as error:
        return web.json_response(error.body, status=error.status)
    except UnusableChat as error:
        return web.json_response(BadRequest(str(error)).body, status=400)
    except web.HTTPException as error:
        message = error.reason or "error"
        return web.json_response(BadRequest(message).body, status=error.status)
    except FlywheelError as error:
        return web.json_response(BadRequest(str(error)).body, status=400)
    except Exception as error:
        logger.exception("A request failed")
        body = {
            "error": {"message": f"{type(error).__name__}: {error}", "type": "server_error", "code": None}
        }
        return web.json_response(body, status=500)


async def _json_body(request: web.Request) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(await request.read())
    except msgspec.DecodeError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    return body


async def listening(application: web.Application) -> web.AppRunner:
    """The application on a free port of loopback: nobody is asked for a key, so nobody else may reach it."""
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


async def _serve(arguments: argparse.Namespace) -> None:
    from blocks.local_platform.models.chat_format import ChatFormat
    from blocks.local_platform.models.model_files import context_length
    from blocks.local_platform.models.model_loading import fastest_dtype, load_model, pick_device, use_cores
    from blocks.local_platform.serving.engine import Engine

    use_cores()
    device = pick_device()
    folder = Path(arguments.folder)
    base = load_model(folder, device, fastest_dtype(device))
    engine = Engine(ChatFormat(folder), arguments.context_length or context_length(folder))
    engine.add_model(arguments.model, base)
    engine.start()
    owner = ProcessRef(pid=arguments.owner_pid, started=arguments.owner_started)
    server = ChatServer(engine, base, arguments.model, owner)
    runner = await listening(server.application())
    state = ServerState(
        process=ProcessRef.current(), port=runner.addresses[0][1], model=arguments.model, folder=str(folder)
    )
    write_json(Path(arguments.state), state)
    await server.until_forsaken()


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="Serves a model on loopback over the OpenAI chat protocol.")
    parser.add_argument("--folder", required=True, help="folder of the model")
    parser.add_argument("--model", required=True, help="name under which the base is served")
    parser.add_argument("--state", required=True, help="file to write once it listens")
    parser.add_argument("--context-length", type=int, default=0, help="in tokens; 0: the model's own")
    parser.add_argument("--owner-pid", type=int, required=True)
    parser.add_argument("--owner-started", required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    # Nothing here needs saving, and a running step must not delay the end.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    asyncio.run(_serve(arguments))
    os._exit(0)  # the thread of the engine may be in the middle of a step


if __name__ == "__main__":
    main()
