from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.nemo.waiting import Patience, looked_at, uninterrupted, until_gone
from flywheel.errors import RemoteRejected, TransientRemoteError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=30))
def test_patience_is_spent_exactly_when_the_same_thing_was_seen_for_too_long(
    looks: list[tuple[int, int]],
) -> None:
    clock = Clock()
    patience = Patience(clock)
    since, seen = 0.0, None
    for what, passed in looks:
        clock.now += passed
        if what != seen:
            seen, since = what, clock.now
        assert patience.is_spent(what, 7) == (clock.now - since > 7)


async def test_a_look_that_fails_in_passing_is_no_news_and_a_refusal_is() -> None:
    async def fails() -> int:
        raise TransientRemoteError("away")

    async def refuses() -> int:
        raise RemoteRejected("no")

    assert await looked_at(fails) is None
    with pytest.raises(RemoteRejected):
        await looked_at(refuses)


async def test_waiting_for_something_to_go_is_bounded() -> None:
    async def stays() -> bool:
        return False

    assert not await until_gone(stays, seconds=0.02, pause=0.005)


async def test_work_that_must_be_seen_to_its_end_survives_a_cancellation_that_goes_on_afterwards() -> None:
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.02)
        done.set()

    task = asyncio.create_task(uninterrupted(work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()
