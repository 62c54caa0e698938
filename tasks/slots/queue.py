"""Waiting for GPU slots together with all runs that share a Prefect server.

Everybody who waits keeps a Prefect variable `flywheel_gpu_claim_...` with what they wait for, written anew at each
look: its times are the server's, so the clocks of the machines do not matter, and a claim that is not renewed is that
of a process that died. Who starts is decided by `flywheel.scheduling.slots` from the same list everywhere; two who
decide from lists of different moments are kept apart by the limit itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.client.schemas.objects import Variable
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.logging import get_logger

from flywheel.progress import listener
from flywheel.scheduling.slots import UNKNOWN_SECONDS, Claim, startable
from tasks.pages import PAGE, all_pages
from tasks.slots.lease import GPU_LIMIT, NOT_FOUND, Lease, take, with_server

CLAIM_PREFIX = "flywheel_gpu_claim_"
LOOK_SECONDS = 2.0
SECONDS_PER_WAITER = 0.25
"""Each look is three requests: the more wait, the more seldom each looks."""
DEAD_AFTER_SECONDS = 90.0


class GpuSlots:
    """What one candidate holds: slots of its deployment, and slots of its fine-tune for as long as that takes."""

    def __init__(self, deployment: Lease, training: Lease) -> None:
        self._deployment, self._training = deployment, training

    async def training_is_over(self) -> None:
        """Give the fine-tune's slots back before the rest; safe to repeat."""
        await self._training.give_back()

    async def give_back(self) -> None:
        """Give everything back; safe to repeat."""
        await self._training.give_back()
        await self._deployment.give_back()


@asynccontextmanager
async def gpu_slots(
    who: str, slots: int, training: int = 0, expected_seconds: float = UNKNOWN_SECONDS
) -> AsyncIterator[GpuSlots]:
    """Hold GPU slots inside the block: all of them at once or none, in turn with everybody else's.

    Args:
        who: Shown to those who look at the queue: the run and the candidate.
        slots: Slots of the deployment.
        training: Slots of the fine-tune, beside those.
        expected_seconds: How long they may be needed; decides the order only.

    Raises: ConfigError where the limit is missing or too small, TransientRemoteError where the server stays away.
    """
    held = await _take_in_turn(who, slots, training, expected_seconds)
    try:
        yield held
    finally:
        await asyncio.shield(held.give_back())  # a second cancellation does not keep what others wait for


async def _take_in_turn(who: str, slots: int, training: int, expected_seconds: float) -> GpuSlots:
    if slots + training == 0:
        return GpuSlots(Lease(0, None), Lease(0, None))
    if not await with_server(_waiting):  # nobody to be fair to
        held = await _take_both(slots, training)
        if held is not None:
            return held
    name = f"{CLAIM_PREFIX}{uuid.uuid4().hex[:12]}"
    claim = {
        "who": who[:200],
        "slots": slots + training,
        "expected_seconds": round(expected_seconds, 1),
        "looks": 0,
    }
    stage, told = f"wait for GPU slots {who}", False
    try:
        while True:
            claims, free = await with_server(lambda client: _look(client, name, claim))
            now = max(updated for _, updated in claims)
            living = [one for one, updated in claims if now - updated < DEAD_AFTER_SECONDS]
            if name in startable(living, free, now):
                held = await _take_both(slots, training)
                if held is not None:
                    if told:
                        listener()(stage, 1, 1, "")
                    return held
            listener()(
                stage, 0, 1, f"{slots + training} wanted, {free} free; prefect gcl inspect {GPU_LIMIT}"
            )
            if not told:
                told = True
                get_logger("flywheel").info(
                    "%s waits for %d GPU slots; %d are free and %d wait.",
                    who,
                    slots + training,
                    free,
                    len(living),
                )
            claim["looks"] = int(str(claim["looks"])) + 1
            await asyncio.sleep(
                max(LOOK_SECONDS, SECONDS_PER_WAITER * len(claims)) * random.uniform(0.8, 1.2)
            )
    finally:
        await _withdraw(name)


async def _take_both(slots: int, training: int) -> GpuSlots | None:
    """Two leases, so that one can end before the other. Whoever gets only the first puts it back and waits."""
    deployment = await take(slots)
    if deployment is None:
        return None
    try:
        lease = await take(training)
    except BaseException:
        await asyncio.shield(deployment.give_back())
        raise
    if lease is None:
        await deployment.give_back()
        return None
    return GpuSlots(deployment, lease)


async def _look(
    client: PrefectClient, name: str, claim: dict[str, Any]
) -> tuple[list[tuple[Claim, float]], int]:
    """Renew the own claim; everybody's with the time of their last look, and the number of free slots."""
    try:
        await client.update_variable(VariableUpdate(name=name, value=claim))
    except httpx.HTTPStatusError as error:
        if error.response.status_code != NOT_FOUND:
            raise
        with contextlib.suppress(ObjectAlreadyExists):  # an answer was lost on its way
            await client.create_variable(VariableCreate(name=name, value=claim))
    limit = await client.read_global_concurrency_limit_by_name(GPU_LIMIT)
    claims = [_claim(variable) for variable in await _waiting(client)]
    return [found for found in claims if found is not None], limit.limit - limit.active_slots


async def _waiting(client: PrefectClient) -> list[Variable]:
    async def page(offset: int) -> list[Variable]:
        wanted = {"variables": {"name": {"like_": CLAIM_PREFIX}}, "sort": "NAME_ASC", "limit": PAGE}
        reply = await client.request("POST", "/variables/filter", json={**wanted, "offset": offset})
        return Variable.model_validate_list(reply.json())

    return [variable for variable in await all_pages(page) if variable.name.startswith(CLAIM_PREFIX)]


def _claim(variable: Variable) -> tuple[Claim, float] | None:
    value = variable.value
    if not isinstance(value, dict) or variable.created is None or variable.updated is None:
        return None  # somebody wrote it by hand
    try:
        slots, expected = int(value["slots"]), float(value["expected_seconds"])
    except (KeyError, TypeError, ValueError):
        return None
    return Claim(variable.name, slots, _seconds(variable.created), expected), _seconds(variable.updated)


def _seconds(time: datetime) -> float:
    return time.timestamp()


async def _withdraw(name: str) -> None:
    async def delete(client: PrefectClient) -> None:
        with contextlib.suppress(ObjectNotFound):
            await client.delete_variable_by_name(name)

    with contextlib.suppress(Exception):  # what is left is taken for dead after a while, and swept
        await asyncio.shield(with_server(delete, patience=10.0))


async def dead_claims(after: float = DEAD_AFTER_SECONDS) -> list[str]:
    """Names of the claims that nobody has renewed for so many seconds, by the server's clock."""
    probe = f"{CLAIM_PREFIX}probe_{uuid.uuid4().hex[:8]}"

    async def look(client: PrefectClient) -> list[Variable]:
        await client.create_variable(VariableCreate(name=probe, value={}))
        return await _waiting(client)

    try:
        variables = await with_server(look)
    finally:
        await _withdraw(probe)
    times = {
        variable.name: _seconds(variable.updated) for variable in variables if variable.updated is not None
    }
    now = times.pop(probe, 0.0)
    return sorted(name for name, updated in times.items() if now - updated >= after)


async def remove_claim(name: str) -> None:
    """Remove the claim of a process that died."""
    await _withdraw(name)
