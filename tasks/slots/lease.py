"""GPU slots held by a lease: kept while the holder lives, given back at its end, and back by themselves if it dies.

Prefect's own `concurrency()` is not used, because it fails the work when its server is away at the moment when slots
are given back, and because it waits in no order.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.logging import get_logger

from flywheel.errors import ConfigError, TransientRemoteError

GPU_LIMIT = "gpu"
LEASE_SECONDS = 60.0
"""The least that Prefect allows; the slots of a run that died are back after it."""
RENEW_SECONDS = 20.0
PATIENCE_SECONDS = 300.0
"""Longest wait for a Prefect server that is away."""
NO_SLOT, GONE, NOT_FOUND = 423, 410, 404

T = TypeVar("T")


class Lease:
    """So many slots of the limit `gpu`, renewed in the background until given back."""

    def __init__(self, slots: int, identity: UUID | None) -> None:
        self.slots = slots
        self._identity = identity
        self._renewing = asyncio.create_task(self._renew()) if identity else None

    async def give_back(self) -> None:
        """Free the slots; safe to repeat. A server that stays away does not fail the work: the lease runs out."""
        identity, self._identity = self._identity, None
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
            self._renewing = None
        if identity is None:
            return
        try:
            await with_server(
                lambda client: client.release_concurrency_slots_with_lease(identity), patience=60.0
            )
        except (TransientRemoteError, httpx.HTTPStatusError) as error:
            get_logger("flywheel").warning(
                "%d GPU slots were not given back (%s); they are free when their lease runs out, in %.0f s.",
                self.slots,
                error,
                LEASE_SECONDS,
            )

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                if self._identity is None:
                    self._identity = await _asked(self.slots)
                else:
                    await with_server(_renewal(self._identity))
            except httpx.HTTPStatusError as error:
                if error.response.status_code in (GONE, NOT_FOUND):
                    self._identity = (
                        None  # lost while the server was away: ask again, others may have been faster
                    )
            except (TransientRemoteError, ConfigError):
                continue  # the work goes on; as long as the server is away, nobody else takes the slots either


def _renewal(identity: UUID) -> Callable[[PrefectClient], Awaitable[httpx.Response]]:
    return lambda client: client.renew_concurrency_lease(identity, LEASE_SECONDS)


async def take(slots: int) -> Lease | None:
    """All of the slots at once, or None where not all are free. No slots are always there.

    Raises: ConfigError where the limit is missing or smaller than that, TransientRemoteError.
    """
    if slots == 0:
        return Lease(0, None)
    identity = await _asked(slots)
    return Lease(slots, identity) if identity else None


async def _asked(slots: int) -> UUID | None:
    try:
        reply = await with_server(
            lambda client: client.increment_concurrency_slots_with_lease(
                [GPU_LIMIT], slots, "concurrency", LEASE_SECONDS
            )
        )
    except httpx.HTTPStatusError as error:
        if error.response.status_code == NO_SLOT:
            return None
        raise ConfigError(
            f"The Prefect server does not give {slots} slots of the limit {GPU_LIMIT!r}: {error.response.text}. "
            f"Look at it with: prefect gcl inspect {GPU_LIMIT}"
        ) from error
    document = reply.json()
    if not document.get("limits"):
        raise ConfigError(
            f"The Prefect server has no active limit {GPU_LIMIT!r}, so nothing would be limited. "
            f"Create it with: prefect gcl create {GPU_LIMIT} --limit N"
        )
    return UUID(document["lease_id"])


async def with_server(call: Callable[[PrefectClient], Awaitable[T]], patience: float = PATIENCE_SECONDS) -> T:
    """Call the Prefect server, again while it is away.

    Raises: TransientRemoteError where it stays away, and httpx.HTTPStatusError for what it refuses.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            async with get_client() as client:
                return await call(client)
        except (httpx.TransportError, OSError) as error:
            away: Exception = error
        except httpx.HTTPStatusError as error:
            if error.response.status_code < 500:
                raise
            away = error
        if time.monotonic() > deadline:
            raise TransientRemoteError(
                f"The Prefect server was away for {patience:.0f} s ({type(away).__name__}: {away}). "
                "Start it again and resume the run."
            ) from away
        await asyncio.sleep(2)
