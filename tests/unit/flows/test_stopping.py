"""SIGTERM and what it does to a flow, in this very process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from prefect.exceptions import TerminationSignal

from flows.outcomes import reraise_stop, uninterrupted
from flows.stopping import stopped_by_sigterm


def raises(number: int, frame: object) -> None:
    """What Prefect puts in place at the start of a flow."""
    raise TerminationSignal(signal=number)


@pytest.fixture(autouse=True)
def prefect_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, raises)
    yield
    signal.signal(signal.SIGTERM, before)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class Flow:
    """Three candidates, each of which frees something at its end and is told to stop all the while."""

    def __init__(self) -> None:
        self.freed: list[int] = []

    async def _candidate(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        with stopped_by_sigterm():
            try:
                await work
            finally:
                await uninterrupted(self._free(number))

    async def _free(self, number: int) -> None:
        for _ in range(3):
            await asyncio.sleep(0.01)
            terminate()
        self.freed.append(number)

    async def run(self, *works: Coroutine[Any, Any, None]) -> None:
        with stopped_by_sigterm():
            found = await asyncio.gather(
                *(self._candidate(number, work) for number, work in enumerate(works)), return_exceptions=True
            )
            reraise_stop(found)


async def waits() -> None:
    await asyncio.sleep(300)


async def is_terminated_in_its_own_code() -> None:
    await asyncio.sleep(0.05)
    terminate()


async def is_terminated_in_a_callback() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # where asyncio leaves it
    asyncio.get_running_loop().call_later(0.05, terminate)
    await asyncio.sleep(300)


async def is_terminated_from_outside() -> None:
    outside = ["sh", "-c", f"sleep 0.05; kill {os.getpid()}"]
    await asyncio.to_thread(subprocess.run, outside, check=False)  # which the loop waits for at its end
    await asyncio.sleep(300)


@pytest.mark.parametrize(
    "how", [is_terminated_in_its_own_code, is_terminated_in_a_callback, is_terminated_from_outside]
)
def test_all_of_a_stopped_flow_is_freed_however_often_it_is_told_to_stop(how: Any) -> None:
    flow = Flow()
    with pytest.raises(TerminationSignal):
        asyncio.run(flow.run(waits(), how(), waits()))
    assert sorted(flow.freed) == [0, 1, 2]


async def test_a_flow_that_ends_otherwise_is_still_stopped_by_the_next_signal() -> None:
    async def flow() -> None:
        with stopped_by_sigterm():
            await asyncio.sleep(300)

    running = asyncio.create_task(flow())
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert signal.getsignal(signal.SIGTERM) is raises


async def test_outside_the_main_thread_a_flow_runs_without_signals() -> None:
    async def flow() -> str:
        with stopped_by_sigterm():
            return "done"

    assert await asyncio.to_thread(lambda: asyncio.run(flow())) == "done"
