"""A candidate on a worker of its own: the same flow as a deployment run, for GPUs that are on other machines.

What travels are names and settings: the worker opens the stores itself and leaves the result in the run store, where
it is read from here. A run is found again by its tag, so a resumed parent adopts what an earlier attempt started.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any
from uuid import UUID

import pydantic
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Cancelling

from blocks.connections import open_run_store
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.errors import (
    ConfigError,
    RemoteJobCancelled,
    RemoteJobFailed,
    RemoteJobTimedOut,
    TransientRemoteError,
)
from flywheel.results import CandidateResult

SECONDS_BETWEEN_LOOKS = 2.0
LONGEST_RUN = 7 * 24 * 3600.0
"""Seconds for queue and work together. The automation for lost heartbeats finds a worker that died long before."""
SECONDS_TO_CANCEL = 120.0
LONGEST_OUTAGE = 600.0
_ALIVE = [kind for kind in StateType if kind not in TERMINAL_STATES]


def tag_of(run_id: str, candidate: CandidateConfig) -> str:
    """What the candidate's run on a worker bears, whichever attempt started it."""
    return f"flywheel-candidate:{run_id}:{candidate.name}"


async def run_on_worker(
    run_id: str, candidate: CandidateConfig, config: FlywheelConfig, parameters: dict[str, Any]
) -> CandidateResult:
    """Run the deployment that `connections.candidate_deployment` names, or adopt its run, and wait for the result.

    Args:
        parameters: Of the flow `candidate`.

    Raises:
        ConfigError: There is no such deployment.
        RemoteJobFailed, RemoteJobCancelled: The run did not get to its end.
        RemoteJobTimedOut: It took longer than a week.
    """
    name, tag = config.connections.candidate_deployment, tag_of(run_id, candidate)
    async with get_client() as client:
        started = await _alive(client, tag)
        if started is None:
            started = await _start(name, candidate, tag, parameters)
        get_run_logger().info("Candidate %s runs as %s of %s.", candidate.name, started.name, name)
        try:
            ended = await _wait(client, started.id)
        except asyncio.CancelledError:
            await asyncio.shield(_cancel(client, started.id))
            raise
    state = ended.state
    if state is None or not state.is_completed():
        kind = RemoteJobCancelled if state is not None and state.is_cancelled() else RemoteJobFailed
        said = state.message if state is not None and state.message else "it gave no reason"
        raise kind(f"The flow run {ended.name!r} of {name} ended {state.name if state else 'lost'}: {said}")
    return await _result(run_id, candidate, config, name)


async def _alive(client: PrefectClient, tag: str) -> FlowRun | None:
    alive = FlowRunFilterState(type=FlowRunFilterStateType(any_=_ALIVE))
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[tag]), state=alive), limit=1
    )
    return found[0] if found else None


async def _start(name: str, candidate: CandidateConfig, tag: str, parameters: dict[str, Any]) -> FlowRun:
    plain = pydantic.TypeAdapter(dict[str, Any]).dump_python(parameters, mode="json")
    try:
        return await arun_deployment(
            name, parameters=plain, flow_run_name=candidate.name, tags=[tag], timeout=0, as_subflow=True
        )
    except ObjectNotFound as error:
        raise ConfigError(
            f"connections.candidate_deployment names {name!r}, which the Prefect server does not have. List what is "
            "there with `prefect deployment ls`; the form is 'candidate/<name>'."
        ) from error


async def _wait(client: PrefectClient, flow_run_id: UUID, longest: float = LONGEST_RUN) -> FlowRun:
    """The run once it has ended. A server that is away for a while is asked again."""
    deadline = time.monotonic() + longest
    answered = time.monotonic()
    while True:
        try:
            flow_run = await client.read_flow_run(flow_run_id)
            answered = time.monotonic()
            if flow_run.state is not None and flow_run.state.is_final():
                return flow_run
        except ObjectNotFound as error:
            raise RemoteJobFailed(f"The flow run {flow_run_id} of a candidate was deleted.") from error
        except Exception as error:
            if time.monotonic() - answered > LONGEST_OUTAGE:
                raise TransientRemoteError(
                    f"The Prefect server did not answer for {LONGEST_OUTAGE:.0f} s: {error}"
                ) from error
        if time.monotonic() > deadline:
            raise RemoteJobTimedOut(
                f"The flow run {flow_run_id} of a candidate did not end within {longest:.0f} s. Look at its work pool."
            )
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)


async def _cancel(client: PrefectClient, flow_run_id: UUID) -> None:
    """Ask for the end of a run and see it ended, as far as the worker lets us."""
    with contextlib.suppress(RemoteJobFailed, RemoteJobTimedOut, ObjectNotFound):
        await client.set_flow_run_state(
            flow_run_id, Cancelling(message="The run that asked for it was cancelled.")
        )
        await _wait(client, flow_run_id, SECONDS_TO_CANCEL)


async def _result(
    run_id: str, candidate: CandidateConfig, config: FlywheelConfig, name: str
) -> CandidateResult:
    runs = await open_run_store(config.connections)
    with contextlib.closing(runs):
        run = await asyncio.to_thread(runs.find_run, run_id)
    for result in run.candidates if run else ():
        reported = result.status not in ("pending", "running") or result.waits_for
        if result.candidate == candidate.name and reported:
            return result
    raise RemoteJobFailed(
        f"{name} finished {candidate.name}, and its result is not in the run store here. Workers need the same "
        "connections.run_store and connections.dataset_store: a database and a URL, or one shared directory."
    )
