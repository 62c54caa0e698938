"""Prepares a Prefect server or workspace for the flywheel; may be repeated at any time.

    python -m deployments.bootstrap

It registers the block types, saves the blocks that the environment describes (see `deployments.environment_blocks`),
and creates what is missing of the work pool, the GPU limit, the variables and the automations. The sizes of a limit and
the values of a variable that are there already are kept, since people change them; automations are brought up to date.
Run it again after each `prefect deploy`, so that crashed runs are cleaned up after and run forms take no parameter that
does not exist.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.variables import Variable

import blocks.prefect_blocks as our_blocks
from blocks.strict_block import StrictBlock
from deployments.automations import clean_up_after, crash_zombies, notifications
from deployments.environment_blocks import NOTIFY, described
from deployments.run_forms import close_run_forms
from flywheel.errors import ConfigError, FlywheelError

GPU_LIMIT = "gpu"
CLEANUP = "cleanup/cleanup"
VARIABLES: Mapping[str, list[Any]] = {"flywheel_excluded_workloads": []}
"""Read by the sweep: ids of workloads that it leaves alone, as a JSON list."""


async def bootstrap(environment: Mapping[str, str], pool: str = "local") -> list[str]:
    """Create what is missing; returns a line for each thing, such as "limit gpu: created with 1 slot".

    Args:
        environment: What blocks are described by, and FLYWHEEL_GPU_SLOTS, the size of a new limit.
        pool: Name of a process work pool to create; empty for none.
    Raises: ConfigError where the environment describes a block wrongly; nothing is changed then.
    """
    wanted = described(environment)
    slots = _slots(environment)
    lines = []
    for kind in block_types():
        await kind.aregister_type_and_schema()
        lines.append(f"block type {kind.get_block_type_slug()}: registered")
    webhook_id: UUID | None = None
    for name, block in wanted:
        document_id = await block.asave(name, overwrite=True)
        lines.append(f"block {block.get_block_type_slug()}/{name}: saved")
        if name == NOTIFY:
            webhook_id = document_id
    async with get_client() as client:
        if pool:
            lines.append(await _work_pool(client, pool))
        lines.append(await _limit(client, GPU_LIMIT, slots))
        for variable, value in VARIABLES.items():
            lines.append(await _variable(variable, value))
        automations = [crash_zombies()]
        try:
            automations.append(clean_up_after((await client.read_deployment_by_name(CLEANUP)).id))
        except ObjectNotFound:
            lines.append(f"automation flywheel: clean up: left out, there is no deployment {CLEANUP} yet")
        if webhook_id is not None:
            automations += notifications(webhook_id)
        for automation in automations:
            lines.append(await _automation(client, automation))
        lines += await close_run_forms(client)
    return lines


def block_types() -> list[type[Block]]:
    """Every block of the project."""
    found = {
        value
        for value in vars(our_blocks).values()
        if isinstance(value, type) and issubclass(value, StrictBlock) and value is not StrictBlock
    }
    return sorted(found, key=lambda kind: kind.get_block_type_slug())


def _slots(environment: Mapping[str, str]) -> int:
    text = environment.get("FLYWHEEL_GPU_SLOTS", "").strip() or "1"
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise ConfigError(f"FLYWHEEL_GPU_SLOTS is {text!r}; give a whole number from 1 to 1024.")
    return int(text)


async def _work_pool(client: PrefectClient, name: str) -> str:
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        await client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        return f"work pool {name}: created"
    return f"work pool {name}: kept, of type {pool.type}"


async def _limit(client: PrefectClient, name: str, size: int) -> str:
    try:
        limit = await client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=size))
        return f"limit {name}: created with {size} slots"
    return f"limit {name}: kept at {limit.limit} slots"


async def _variable(name: str, value: list[Any]) -> str:
    if await Variable.aget(name) is None:
        await Variable.aset(name, value)
        return f"variable {name}: created"
    return f"variable {name}: kept"


async def _automation(client: PrefectClient, wanted: AutomationCore) -> str:
    same_name = await client.read_automations_by_name(wanted.name)
    if not same_name:
        await client.create_automation(wanted)
        return f"automation {wanted.name}: created"
    first, *others = same_name
    for other in others:  # two bootstraps at once made two
        await client.delete_automation(other.id)
    wanted.enabled = first.enabled  # somebody switched it off: it stays off
    await client.update_automation(first.id, wanted)
    return f"automation {wanted.name}: brought up to date"


def main() -> Iterator[str]:
    """Prepare the server of the active profile."""
    yield from asyncio.run(bootstrap(os.environ, os.environ.get("FLYWHEEL_WORK_POOL", "local")))


if __name__ == "__main__":
    try:
        for line in main():
            print(line)
    except FlywheelError as error:
        sys.exit(f"bootstrap: {error}")
