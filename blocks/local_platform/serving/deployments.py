"""Deployments of the local platform: server processes got or created by name."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from blocks.local_platform.atomic_json import read_json, write_json
from blocks.local_platform.processes import ProcessRef, exclusive, log_tail, spawn_python, stop
from blocks.local_platform.serving.server import ServerState
from blocks.ports import Endpoint
from flywheel.errors import RemoteError, RemoteJobFailed, RemoteRejected, TransientRemoteError
from flywheel.progress import Progress

STATE_FILE = "server.json"
PROCESS_FILE = "process.json"
LOG_FILE = "log.txt"
SECONDS_BETWEEN_LOOKS = 0.1


class Deployments:
    """Servers below one directory, a folder for each.

    Args:
        patience: Seconds for a server to come up and answer.
    """

    def __init__(self, root: Path, patience: float) -> None:
        self._root = root
        self._patience = patience

    async def get_or_create(
        self, slug: str, model: str, folder: Path, context_length: int | None, progress: Progress
    ) -> Endpoint:
        """A server of `model` that has answered a real request; one that runs already is adopted.

        Raises: RemoteJobFailed (it ended), TransientRemoteError (it did not answer in time).
        """
        async with exclusive(self._lock(slug), self._patience):
            running = await self._adopted(slug, model, folder)
            if running is not None:
                return _endpoint(running)
            stage = f"deploy {slug}"
            progress(stage, 0, 2, "loading the model")
            place = self._root / slug
            place.mkdir(parents=True, exist_ok=True)
            (place / STATE_FILE).unlink(missing_ok=True)
            owner = ProcessRef.current()
            options = {
                "--folder": str(folder),
                "--model": model,
                "--state": str(place / STATE_FILE),
                "--context-length": str(context_length or 0),
                "--owner-pid": str(owner.pid),
                "--owner-started": owner.started,
            }
            arguments = [part for option in options.items() for part in option]
            process = spawn_python("blocks.local_platform.serving.server", arguments, place / LOG_FILE)
            try:
                write_json(place / PROCESS_FILE, process)
                state = await self._wait_for_state(slug, process)
                progress(stage, 1, 2, "first answer")
                await self._first_answer(slug, state)
            except BaseException:
                await asyncio.shield(stop(process, grace=2))
                raise
            progress(stage, 2, 2, "answers")
            return _endpoint(state)

    async def load_adapter(self, slug: str, name: str, adapter: str) -> Endpoint:
        """Serve the adapter under `name` beside its base.

        Raises: TransientRemoteError where the server does not run or answer, RemoteRejected where it refuses.
        """
        state = read_json(self._root / slug / STATE_FILE, ServerState)
        if state is None or not state.process.is_alive():
            raise TransientRemoteError(
                f"The deployment {slug!r} does not run, so no adapter can be served on it; deploy it again. "
                f"Its log ends: {log_tail(self._root / slug / LOG_FILE)}"
            )
        body = {"lora_name": name, "lora_path": adapter}
        status, answer = await self._post(state, "/v1/load_lora_adapter", body)
        if status != 200:
            raise RemoteRejected(f"The adapter {adapter} cannot be served on {slug!r}: {_message(answer)}")
        return Endpoint(base_url=_base_url(state), model=name)

    async def remove(self, slug: str) -> None:
        """Stop the server and see it gone; its directory goes too."""
        place = self._root / slug
        if not place.is_dir():
            return
        async with exclusive(self._lock(slug), self._patience):
            for process in self._processes(slug):
                await stop(process, grace=5)
            shutil.rmtree(place, ignore_errors=True)

    def names(self) -> list[str]:
        """Names of the deployments that are there, running or not."""
        return sorted(place.name for place in self._root.glob("*") if place.is_dir())

    async def _adopted(self, slug: str, model: str, folder: Path) -> ServerState | None:
        """The running server of that name, told that we own it now; None where there is none that answers."""
        state = read_json(self._root / slug / STATE_FILE, ServerState)
        if state is not None and state.process.is_alive():
            if state.model != model or state.folder != str(folder):
                raise RemoteRejected(
                    f"A deployment named {slug!r} serves {state.model!r}; shut it down first."
                )
            try:
                status, _ = await self._post(state, "/owner", msgspec.to_builtins(ProcessRef.current()))
                if status == 200:
                    await self._first_answer(slug, state)
                    return state
            except RemoteError:
                pass  # it is replaced below
        for process in self._processes(slug):
            await stop(process, grace=2)
        return None

    def _processes(self, slug: str) -> list[ProcessRef]:
        """Both records of it: the server's own is missing while it starts, ours if we died just after the start."""
        place = self._root / slug
        state = read_json(place / STATE_FILE, ServerState)
        launched = read_json(place / PROCESS_FILE, ProcessRef)
        return list(dict.fromkeys(p for p in (launched, state.process if state else None) if p is not None))

    async def _wait_for_state(self, slug: str, process: ProcessRef) -> ServerState:
        place = self._root / slug
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            alive = process.is_alive()
            state = read_json(place / STATE_FILE, ServerState)
            if state is not None:
                return state
            if not alive:
                raise RemoteJobFailed(
                    f"The server of {slug!r} ended while it started. See {place / LOG_FILE}; "
                    f"it ends: {log_tail(place / LOG_FILE)}"
                )
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        raise TransientRemoteError(
            f"The server of {slug!r} was not ready within {self._patience:.0f} s. See {place / LOG_FILE}; "
            f"it ends: {log_tail(place / LOG_FILE)}"
        )

    async def _first_answer(self, slug: str, state: ServerState) -> None:
        body = {
            "model": state.model,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 1,
            "temperature": 0,
        }
        status, answer = await self._post(state, "/v1/chat/completions", body)
        if status != 200:
            raise RemoteJobFailed(f"The model of {slug!r} is up but does not answer: {_message(answer)}")

    async def _post(self, state: ServerState, path: str, body: Any) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{state.port}{path}"
        try:
            timeout = aiohttp.ClientTimeout(total=self._patience)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, json=body) as response,
            ):
                return response.status, await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise TransientRemoteError(
                f"The local server at {url} does not answer ({type(error).__name__}); try again."
            ) from error

    def _lock(self, slug: str) -> Path:
        return self._root / f".{slug}.lock"


def _base_url(state: ServerState) -> str:
    return f"http://127.0.0.1:{state.port}/v1"


def _endpoint(state: ServerState) -> Endpoint:
    return Endpoint(base_url=_base_url(state), model=state.model)


def _message(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    return str(error.get("message") if isinstance(error, dict) else answer)
