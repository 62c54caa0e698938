"""How parallel work ends: a failure is a result of its own, a stop is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, TypeVar

from prefect.logging import get_logger

from flywheel.errors import FlywheelError

T = TypeVar("T")


async def outcome(work: Awaitable[T]) -> T | Exception:
    """The result of `work`, or the exception it ended with; a cancellation is not an outcome and goes on."""
    try:
        return await work
    except Exception as error:  # isolating a failure is the whole point; it is reported with the result
        return error


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """See `work` to its end however often this task is cancelled meanwhile; the cancellation goes on afterwards."""
    running = asyncio.ensure_future(work)
    stopped: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            stopped = error
    if stopped is not None:
        if not running.cancelled() and (failure := running.exception()) is not None:
            get_logger("flywheel").error("What had to be done before stopping failed: %s", failure)
        raise stopped
    return running.result()


def reraise_stop(results: Sequence[Any]) -> None:
    """A cancellation or a termination among gathered results stops the flow; it is no result."""
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result


def reason_of(error: Exception) -> str:
    """What a result says of a failure: our errors speak for themselves, of others the kind is told too."""
    text = str(error) or type(error).__name__
    return text if isinstance(error, FlywheelError) else f"{type(error).__name__}: {text}"
