"""Claims on GPU slots of processes that died, and slots that a server forgot to whom it lent them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from tasks.cleaning.freed import Freed
from tasks.slots.lease import GPU_LIMIT, with_server
from tasks.slots.queue import DEAD_AFTER_SECONDS, dead_claims, remove_claim

GOING_ON = [StateType.RUNNING, StateType.PENDING, StateType.PAUSED, StateType.CANCELLING]
QUIET_SECONDS = 600


async def clean_up_slots(
    *, dry_run: bool = False, dead_after: float = DEAD_AFTER_SECONDS, quiet_for: float = QUIET_SECONDS
) -> list[Freed]:
    """Remove claims that nobody renews; free slots that are taken although no run of ours is going on.

    The second happens where a server keeps its leases in memory and was started anew: it then never frees them.

    Args:
        dead_after: Seconds after which a claim that was not renewed is that of a process that died.
        quiet_for: Seconds for which no run of ours must have been going on: a lease still runs out by itself then.
    """
    word = "would be freed" if dry_run else "freed"
    found = []
    for name in await dead_claims(dead_after):
        if not dry_run:
            await remove_claim(name)
        found.append(Freed("claim on GPU slots", name, "", word, "nobody renews it"))
    taken = await with_server(lambda client: _forgotten(client, quiet_for))
    if taken:
        if not dry_run:
            await with_server(_reset)
        found.append(Freed("GPU slots", f"{taken} of {GPU_LIMIT}", "", word, "no run is going on"))
    return found


async def _forgotten(client: PrefectClient, quiet_for: float) -> int:
    try:
        limit = await client.read_global_concurrency_limit_by_name(GPU_LIMIT)
    except ObjectNotFound:
        return 0
    if not limit.active_slots:
        return 0
    ours = FlowFilter(name=FlowFilterName(any_=["flywheel", "candidate"]))
    lately: Any = datetime.now(UTC) - timedelta(seconds=quiet_for)
    for filtered in (
        FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=GOING_ON))),
        FlowRunFilter(end_time=FlowRunFilterEndTime(after_=lately)),
    ):
        if await client.read_flow_runs(flow_filter=ours, flow_run_filter=filtered, limit=1):
            return 0
    return limit.active_slots


async def _reset(client: PrefectClient) -> None:
    await client.update_global_concurrency_limit(GPU_LIMIT, GlobalConcurrencyLimitUpdate(active_slots=0))
