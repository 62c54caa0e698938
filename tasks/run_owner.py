"""Which process works on a run, written into the ledger, so that another can tell whether the run still lives."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

import httpx
from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from blocks.connections import open_run_store
from blocks.local_platform.processes import ProcessRef
from blocks.ports import LedgerEntry
from flywheel.config import FlywheelConfig
from flywheel.errors import ConfigError
from flywheel.results import RunResult
from tasks.ledger import strike

OWNER = "process"
"""Kind of the ledger's entry; its name is the run's id."""

GONE = "The process that worked on it is gone."

Life = Literal["alive", "dead", "unknown"]


async def record_owner(config: FlywheelConfig, run_id: str) -> None:
    """Write down that this process works on the run; one that did before is replaced."""
    process = ProcessRef.current()
    entry = LedgerEntry(
        run_id=run_id,
        kind=OWNER,
        name=run_id,
        platform=config.connections.platform,
        created_at=datetime.now(UTC).isoformat(),
        details={
            "machine": this_machine(),
            "computer": this_computer(),
            "pid": process.pid,
            "started": process.started,
            "flow_run": str(runtime.flow_run.id or ""),
        },
    )
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        await asyncio.to_thread(runs.record_resource, entry)


async def strike_owner(config: FlywheelConfig, run_id: str) -> None:
    """Write down that nobody works on the run any more."""
    await strike(config, OWNER, run_id)


async def require_no_other(run_id: str, run: RunResult | None, held: Sequence[LedgerEntry]) -> None:
    """Raises ConfigError if another process works on this run: two would undo each other's work."""
    owner = next((entry for entry in held if entry.kind == OWNER), None)
    if owner is None or run is None or run.status != "running":
        return
    process = ProcessRef.current()
    ours = owner.details.get("machine") == this_machine() and owner.details.get("pid") == process.pid
    if ours or owner.details.get("flow_run") == str(runtime.flow_run.id or ""):
        return
    if await life_of(run, owner) == "alive":
        raise ConfigError(
            f"The run {run_id} is being worked on by process {owner.details.get('pid')} on "
            f"{str(owner.details.get('machine')).split(' ')[0]}. Wait for its end or stop it, then resume."
        )


async def bury_earlier_owner(run: RunResult | None, held: Sequence[LedgerEntry]) -> None:
    """If the process that worked on the run before is gone, its flow run is not left running on the Prefect server."""
    owner = next((entry for entry in held if entry.kind == OWNER), None)
    if owner is not None and await life_of(run, owner) == "dead":
        await mark_crashed(owner)


async def life_of(run: RunResult | None, owner: LedgerEntry | None) -> Life:
    """Whether somebody still works on a run.

    On the machine of its process that is certain, also after that was started anew. From elsewhere the state of its
    flow run decides, and where the Prefect server does not know that, nothing is certain.
    """
    if owner is None:
        return "dead" if run is not None and run.status != "running" else "unknown"
    details = owner.details
    if details.get("machine") == this_machine():
        process = ProcessRef(int(details["pid"]), str(details["started"]))
        return "alive" if process.is_alive() else "dead"
    if details.get("computer") and details["computer"] == this_computer():
        return "dead"  # with an earlier boot of this computer
    return await _life_of_flow_run(str(details.get("flow_run", "")))


async def _life_of_flow_run(flow_run: str) -> Life:
    if not flow_run:
        return "unknown"
    try:
        async with get_client() as client:
            state = (await client.read_flow_run(UUID(flow_run))).state
    except (ObjectNotFound, ValueError, httpx.HTTPError, OSError):
        return "unknown"
    return "dead" if state is not None and state.is_final() else "alive"


async def mark_crashed(owner: LedgerEntry) -> None:
    """Tell the Prefect server that the flow run of a process that is gone does not run, nor what it called.

    Without this they run for ever there, and a sweep leaves the workload out. A flow run that was started again since
    is left alone; a server that does not know it, or does not answer, changes nothing of the work here.
    """
    flow_run_id = str(owner.details.get("flow_run", ""))
    if not flow_run_id or flow_run_id == str(runtime.flow_run.id or ""):
        return
    with contextlib.suppress(ObjectNotFound, ValueError, httpx.HTTPError, OSError):
        async with get_client() as client:
            flow_run = await client.read_flow_run(UUID(flow_run_id))
            if not _still_runs(flow_run) or _since(flow_run) > datetime.fromisoformat(owner.created_at):
                return
            parent = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run.id]))
            called = await client.read_flow_runs(flow_run_filter=parent)
            here = [
                each for each in called if each.deployment_id is None
            ]  # others live on workers of their own
            for gone in [*here, flow_run]:
                if _still_runs(gone):
                    await client.set_flow_run_state(gone.id, Crashed(message=GONE), force=True)


def _still_runs(flow_run: FlowRun) -> bool:
    return flow_run.state_type in (StateType.RUNNING, StateType.CANCELLING)


def _since(flow_run: FlowRun) -> datetime:
    """When its process began; asking for its end begins nothing."""
    began = (
        flow_run.state.timestamp if flow_run.state and flow_run.state.is_running() else flow_run.start_time
    )
    return began or datetime.now(UTC)


def this_machine() -> str:
    """This boot of this machine, and the space in which its process ids count: a container has its own."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def this_computer() -> str:
    """What `this_machine` keeps when it is started anew; empty where the system has no id of its own."""
    try:
        identity = Path("/etc/machine-id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    if not identity:
        return ""
    # The id itself is nobody else's business, says `man machine-id`.
    return hashlib.sha256(f"flywheel {socket.gethostname()} {identity} {namespace}".encode()).hexdigest()[:16]
