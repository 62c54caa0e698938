"""A run of the command and the Prefect server: cancelled there it stops here, stopped here it is cancelled there.

Runs of deployments have a worker for this. A run of the command has none: Prefect would leave it "Cancelling" for ever
while it goes on, and call it crashed where Ctrl-C stopped it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import FlowRun, State

SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_TO_SAY_SO = 20.0
LOOKED_AT = 50
FLOW = "flywheel"


@contextlib.asynccontextmanager
async def cancelled_together(run_id: str, look_every: float = SECONDS_BETWEEN_LOOKS) -> AsyncIterator[None]:
    """Cancels this task when the server is asked to cancel the run's flow run; says "cancelled" there when it was.

    A server that is away changes nothing of the run.
    """
    from prefect.exceptions import TerminationSignal

    this = asyncio.current_task()
    assert this is not None
    flow_run = _FlowRun(run_id)
    watching = asyncio.create_task(_cancel_when_asked(this, flow_run, look_every))
    try:
        yield
    except (asyncio.CancelledError, TerminationSignal):
        saying = asyncio.create_task(_say_cancelled(flow_run))
        with contextlib.suppress(asyncio.CancelledError):  # pressed again: it is about to end anyway
            await asyncio.wait({saying}, timeout=SECONDS_TO_SAY_SO)
        saying.cancel()
        raise
    finally:
        watching.cancel()


class _FlowRun:
    """The flow run that works on a run, found by its parameters, for Prefect gives it an id of its own."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._id: UUID | None = None

    async def now(self) -> FlowRun | None:
        """As the server has it; None where it has none yet."""
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowFilter, FlowFilterName
        from prefect.client.schemas.sorting import FlowRunSort

        async with get_client() as client:
            if self._id is not None:
                return await client.read_flow_run(self._id)
            newest = await client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
                sort=FlowRunSort.START_TIME_DESC,
                limit=LOOKED_AT,
            )
        found = next((one for one in newest if one.parameters.get("run_id") == self._run_id), None)
        self._id = found.id if found else None
        return found


async def _cancel_when_asked(work: asyncio.Task[object], flow_run: _FlowRun, look_every: float) -> None:
    while True:
        await asyncio.sleep(look_every)
        with contextlib.suppress(Exception):  # as long as nobody can be asked, nobody has asked
            found = await flow_run.now()
            if found is not None and found.state is not None and found.state.is_cancelling():
                work.cancel()
                return


async def _say_cancelled(flow_run: _FlowRun) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled

    with contextlib.suppress(Exception):  # the run store has it; this is for those who look at the server
        found = await flow_run.now()
        state = found.state if found else None
        if found and state and (state.is_cancelling() or state.is_crashed()):
            stopped: State[Any] = Cancelled(message="It was stopped, and what it held is free.")
            async with get_client() as client:
                await client.set_flow_run_state(found.id, stopped, force=True)
