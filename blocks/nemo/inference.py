"""The NIM proxy: which models it routes to, and whether one answers."""

from __future__ import annotations

import asyncio
import time

from blocks.nemo.connection import Waits
from blocks.nemo.http import Service
from blocks.nemo.waiting import looked_at
from flywheel.errors import RemoteJobTimedOut
from flywheel.progress import Progress

MOST_MODELS_NAMED = 8


class Inference:
    """What the inference service knows. A model is usable when it is listed and a completion of it came back."""

    def __init__(self, service: Service, waits: Waits) -> None:
        self._service = service
        self._waits = waits

    async def models(self) -> list[str]:
        """Ids of the models that are routed to."""
        listing = (await self._service.call("GET", "/v1/models")).document
        return [entry["id"] for entry in listing.get("data") or [] if isinstance(entry.get("id"), str)]

    async def first_answer(self, model: str) -> str | None:
        """Ask `model` for one token: None when it answered, else what the service said instead."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 1,
            "temperature": 0,
        }
        reply = await self._service.call(
            "POST", "/v1/chat/completions", json=body, also=(400, 404, 422, 500, 502, 503)
        )
        if reply.status == 200 and reply.document.get("choices"):
            return None
        return f"{reply.status} {reply.said}"

    async def await_answer(self, model: str, stage: str, progress: Progress) -> None:
        """Wait until `model` is listed and answers.

        A model can be listed and fail when it is used, for example an adapter on an image that does not fit it, so
        only a completion counts.

        Raises: RemoteJobTimedOut with what was seen last.
        """
        deadline = time.monotonic() + self._waits.sync
        said = "it could not be reached"
        while True:
            listed = await looked_at(self.models)
            if listed is not None and model in listed:
                answer = await looked_at(lambda: self._asked(model))
                if answer == "":
                    return
                said = f"it is listed, but a completion of it got: {answer or 'no answer'}"
                progress(stage, 0, None, "listed, waiting for its first answer")
            elif listed is not None:
                there = ", ".join(sorted(listed)[:MOST_MODELS_NAMED]) or "no model"
                said = f"it is not listed; there: {there}"
                progress(stage, 0, None, "waiting for the inference service to list it")
            if time.monotonic() > deadline:
                raise RemoteJobTimedOut(
                    f"The NIM does not answer as {model!r} after {self._waits.sync:.0f} s: {said}. For an adapter, the "
                    "base model has to be deployed with LoRA support and an image that fits."
                )
            await asyncio.sleep(self._waits.poll)

    async def _asked(self, model: str) -> str:
        return await self.first_answer(model) or ""
