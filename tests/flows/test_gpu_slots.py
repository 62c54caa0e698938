"""GPU slots on a real Prefect server: shared, in turn, all or nothing, and back when their holder dies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import AsyncIterator

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    VariableCreate,
    VariableUpdate,
)
from prefect.exceptions import ObjectNotFound

from flywheel.errors import ConfigError
from flywheel.progress import listening
from tasks.cleaning.freed import Freed
from tasks.cleaning.slots import clean_up_slots
from tasks.slots.lease import GPU_LIMIT
from tasks.slots.queue import CLAIM_PREFIX, gpu_slots
from tests.flows.traces import database_of_prefect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@contextlib.asynccontextmanager
async def limit_of(slots: int) -> AsyncIterator[None]:
    """The limit with so many slots, none taken; as it was before, afterwards."""
    async with get_client() as client:
        try:
            before = (await client.read_global_concurrency_limit_by_name(GPU_LIMIT)).limit
        except ObjectNotFound:
            before = 2
            await client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=slots)
            )
        await client.update_global_concurrency_limit(
            GPU_LIMIT, GlobalConcurrencyLimitUpdate(limit=slots, active_slots=0)
        )
        try:
            yield
        finally:
            await client.update_global_concurrency_limit(
                GPU_LIMIT, GlobalConcurrencyLimitUpdate(limit=before, active_slots=0)
            )


async def taken() -> int:
    async with get_client() as client:
        return (await client.read_global_concurrency_limit_by_name(GPU_LIMIT)).active_slots


async def claims() -> list[str]:
    async with get_client() as client:
        return [found.name for found in await client.read_variables() if found.name.startswith(CLAIM_PREFIX)]


async def test_candidates_never_hold_more_than_there_is_and_leave_nothing_behind(prefect_api: None) -> None:
    held, most = 0, 0

    async def candidate(number: int, slots: int) -> None:
        nonlocal held, most
        async with gpu_slots(f"candidate {number}", slots):
            held += slots
            most = max(most, held)
            await asyncio.sleep(0.2)
            held -= slots

    async with limit_of(4):
        await asyncio.wait_for(asyncio.gather(*(candidate(n, 1 + n % 4) for n in range(6))), 300)
        assert most <= 4
        assert await taken() == 0
        assert await claims() == []


async def test_two_that_each_need_deployment_and_training_do_not_lock_each_other_out(
    prefect_api: None,
) -> None:
    """With slots taken one kind after the other, both would hold half of what the other needs, for ever."""
    done = []

    async def candidate(name: str) -> None:
        async with gpu_slots(name, 1, training=1):
            await asyncio.sleep(0.3)
            done.append(name)

    async with limit_of(2):
        await asyncio.wait_for(asyncio.gather(candidate("a"), candidate("b")), 300)
    assert sorted(done) == ["a", "b"]


async def test_the_slots_of_a_fine_tune_are_free_as_soon_as_it_is_over(prefect_api: None) -> None:
    async with limit_of(3), gpu_slots("one", 1, training=2) as held:
        assert await taken() == 3
        await held.training_is_over()
        assert await taken() == 1
        async with asyncio.timeout(200), gpu_slots("two", 2):
            assert await taken() == 3


async def test_more_slots_than_there_are_is_an_error_and_no_wait(prefect_api: None) -> None:
    async with limit_of(2):
        with pytest.raises(ConfigError, match="prefect gcl"):
            async with asyncio.timeout(200), gpu_slots("greedy", 3):
                raise AssertionError("got slots that are not there")


async def test_who_waits_says_so_and_withdraws_the_claim_when_cancelled(prefect_api: None) -> None:
    told: list[tuple[str, int]] = []
    async with limit_of(1), gpu_slots("holder", 1):
        with listening(lambda stage, done, total, detail="": told.append((f"{stage}: {detail}", done))):
            waiting = asyncio.create_task(_hold("waiter", 1))
        while not told:
            await asyncio.sleep(0.1)
        assert told[0] == ("wait for GPU slots waiter: 1 wanted, 0 free; prefect gcl inspect gpu", 0)
        assert await claims()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await claims() == []
        assert await taken() == 1


async def test_a_claim_written_by_hand_is_passed_over(prefect_api: None) -> None:
    async with get_client() as client:
        await client.create_variable(VariableCreate(name=f"{CLAIM_PREFIX}nonsense", value="none"))
        try:
            async with limit_of(1), asyncio.timeout(200), gpu_slots("somebody", 1):
                assert await taken() == 1
        finally:
            await client.delete_variable_by_name(f"{CLAIM_PREFIX}nonsense")


async def test_cleanup_removes_the_claim_of_a_process_that_died_and_frees_slots_whose_lease_the_server_forgot(
    prefect_api: None,
) -> None:
    @flow(name="candidate")
    async def while_a_candidate_is_going_on() -> list[Freed]:
        return await clean_up_slots(quiet_for=0)

    async with limit_of(4), get_client() as client:
        await client.update_global_concurrency_limit(GPU_LIMIT, GlobalConcurrencyLimitUpdate(active_slots=3))
        assert await while_a_candidate_is_going_on() == []
        await client.create_variable(VariableCreate(name=f"{CLAIM_PREFIX}of_the_dead", value={"slots": 2}))
        waiting = f"{CLAIM_PREFIX}of_the_living"
        await client.create_variable(VariableCreate(name=waiting, value={"slots": 1}))
        renewing = asyncio.create_task(_renewed(waiting))
        long_ago(f"{CLAIM_PREFIX}of_the_dead")

        told = await clean_up_slots(dry_run=True, dead_after=600, quiet_for=0)
        assert [(found.name, found.done) for found in told] == [
            (f"{CLAIM_PREFIX}of_the_dead", "would be freed"),
            (f"3 of {GPU_LIMIT}", "would be freed"),
        ]
        assert (await taken(), len(await claims())) == (3, 2)
        # The candidate ended less than an hour ago, and its lease may still run out by itself.
        assert await clean_up_slots(dead_after=6000, quiet_for=3600) == []

        done = await clean_up_slots(dead_after=600, quiet_for=0)
        assert [(found.name, found.done) for found in done] == [(found.name, "freed") for found in told]
        assert (await taken(), await claims()) == (0, [waiting])
        assert await clean_up_slots(dead_after=600, quiet_for=0) == []
        renewing.cancel()
        await client.delete_variable_by_name(waiting)


def long_ago(claim: str) -> None:
    """Nobody has renewed it for an hour, as the server has it in its database."""
    updated = "strftime('%Y-%m-%d %H:%M:%f000', updated, '-1 hour')"
    with contextlib.closing(sqlite3.connect(database_of_prefect(), timeout=60)) as database, database:
        told = database.execute(f"UPDATE variable SET updated = {updated} WHERE name = ?", (claim,))
        assert told.rowcount == 1


async def _renewed(name: str) -> None:
    """As `gpu_slots` does while it waits: the server takes note only of a value that changed."""
    async with get_client() as client:
        for looks in itertools.count():
            await client.update_variable(VariableUpdate(name=name, value={"slots": 1, "looks": looks}))
            await asyncio.sleep(0.2)


async def _hold(who: str, slots: int) -> None:
    async with gpu_slots(who, slots):
        await asyncio.sleep(0.1)
