"""What models a service has, and whether one really answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from blocks.endpoints.chat_answers import is_completion
from blocks.openai_platform.api import Api
from flywheel.errors import EndpointRefused, RemoteError, RemoteRejected, TransientRemoteError
from flywheel.progress import Progress

CONTEXT_KEYS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""How servers call it: vLLM and SGLang, hosts of many models, Groq, others."""

SECONDS_BETWEEN_LOOKS = 2.0
_BOUNDS = ("max_tokens", "max_completion_tokens")


async def first_answer(
    api: Api, model: str, stage: str, progress: Progress, patience: float, new: bool = False
) -> None:
    """Return when `model` has given a real completion.

    Args:
        patience: Seconds for which failures that may pass are waited out.
        new: The model was made just now, so that it may be unknown for a while.

    Raises: EndpointRefused (wrong key, unknown model), RemoteRejected, TransientRemoteError (not in time).
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    bounds = list(_BOUNDS)
    progress(stage, 0, 1, "first answer")
    while True:
        try:
            await _ask(api, model, bounds[0])
            progress(stage, 1, 1, "answers")
            return
        except TransientRemoteError as error:
            trouble: RemoteError = error
        except EndpointRefused as error:
            if not new or "answered 404" not in str(error):
                raise await _with_names(api, model, error) from None
            trouble = error
        except RemoteRejected as error:
            if len(bounds) == 1 or bounds[0] not in str(error):
                raise
            bounds.pop(0)  # newer models know the bound under another name
            continue
        if loop.time() > deadline:
            raise TransientRemoteError(
                f"The model {model!r} has not answered within {patience:.0f} s: {trouble}"
            )
        progress(stage, 0, 1, "waits for its first answer")
        await asyncio.sleep(min(SECONDS_BETWEEN_LOOKS, max(0.05, patience / 20)))


async def listed(api: Api) -> list[dict[str, Any]]:
    """The models that the service lists, each with its `id`; empty where it lists none."""
    page = await api.get("/models")
    models = page.get("data")
    return [
        model
        for model in (models if isinstance(models, list) else [])
        if isinstance(model, dict) and isinstance(model.get("id"), str)
    ]


async def stated_context(api: Api, model: str) -> int | None:
    """Context length of a model, in tokens, where the service states it."""
    try:
        found = next((entry for entry in await listed(api) if entry["id"] == model), {})
    except RemoteError:
        return None  # many services list no models; whether this one works is for others to find out
    places: list[Any] = [found, found.get("meta"), found.get("top_provider")]
    for place in places:
        for key in (*CONTEXT_KEYS, "n_ctx_train"):
            value = place.get(key) if isinstance(place, Mapping) else None
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None


async def _ask(api: Api, model: str, bound: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], bound: 16}
    answer = await api.create("/chat/completions", body)
    if not is_completion(answer):
        raise TransientRemoteError(f"{api.base_url} answered with what is no chat completion.")


async def _with_names(api: Api, model: str, error: EndpointRefused) -> EndpointRefused:
    """The refusal of an unknown model, with the names that would be known."""
    if "answered 404" not in str(error):
        return error
    try:
        names = [entry["id"] for entry in await listed(api)]
    except RemoteError:
        return error
    if not names or model in names:
        return error
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return EndpointRefused(f"{api.base_url} has no model {model!r}; it has {shown}. ({error})")
