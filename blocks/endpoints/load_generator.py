"""Sending requests when they are due, whether or not earlier ones were answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from blocks.endpoints.chat_client import ChatClient
from flywheel.errors import RemoteError
from flywheel.load_test import Sample
from flywheel.progress import Progress, silent

STAGE = "load test"


async def send_when_due(
    client: ChatClient,
    bodies: Sequence[dict[str, Any]],
    due: Sequence[float],
    progress: Progress = silent,
) -> list[Sample]:
    """One sample for each entry of `due` (seconds from now, ascending), with the bodies taken in turn.

    The client bounds how long one answer is waited for, so the call ends at most that long after the last one was
    due. Cancelling it abandons what is under way.
    """
    samples: list[Sample] = []
    started = time.perf_counter()

    async def one(number: int, at: float) -> None:
        sent = time.perf_counter() - started
        error = None
        try:
            await client.complete(bodies[number % len(bodies)])
        except RemoteError as failed:
            error = str(failed)
        ended = time.perf_counter() - started
        samples.append(Sample(max(0.0, sent - at), (ended - at) * 1000, error))
        progress(STAGE, len(samples), len(due))

    async with asyncio.TaskGroup() as group:
        for number, at in enumerate(due):
            await asyncio.sleep(max(0.0, started + at - time.perf_counter()))
            group.create_task(one(number, at))
    return samples
