"""A sweep's dealings with the outside: what the log and the history hold, and runs of deployments."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from prefect import runtime, task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.variables import Variable

from blocks.connections import open_log_store, open_run_store
from blocks.ports import LogQuery, LogStore, RunStore, WorkloadSummary
from flywheel.config import FlywheelConfig
from flywheel.config.sweep import SweepConfig
from flywheel.cost.traffic import DAY, DAYS_OF_A_MONTH
from flywheel.errors import ConfigError, DataError
from flywheel.overrides import validated
from flywheel.progress import Progress, silent
from flywheel.report.bounded import bounded
from flywheel.report.sweep import coverage_sentence, sweep_rows
from flywheel.results import RunResult
from flywheel.scheduling.sweep_plan import Chosen, SweepPlan, Workload
from tasks.pages import PAGE, all_pages
from tasks.progress import in_thread
from tasks.retry_conditions import is_transient
from tasks.slots.lease import with_server
from tasks.sweep_drift import renewal, staleness

FLOW = "flywheel"
OF_FLOW = FlowFilter(name=FlowFilterName(any_=[FLOW]))
EXCLUDED = "flywheel_excluded_workloads"
UNDER_WAY = [
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.PAUSED,
    StateType.CANCELLING,
]
WITH_RESULTS = ("completed", "partial")
RUNS_LOOKED_THROUGH = 20


class Template:
    """The deployment that a sweep starts runs of, and the deployments that single workloads have of their own."""

    def __init__(
        self,
        deployment_id: UUID,
        config: dict[str, Any],
        own: dict[tuple[str, str], UUID],
        overrides: dict[UUID, dict[str, Any]] | None = None,
    ) -> None:
        self.deployment_id, self._config, self._own = deployment_id, config, own
        self._overrides = overrides or {}

    @property
    def config(self) -> FlywheelConfig:
        """Its settings; they say where the log and the history are."""
        return validated({"workload_id": "any", "client_id": "any"} | self._config)

    def run_of(self, chosen: Chosen) -> tuple[UUID, dict[str, Any]]:
        """Deployment and parameters for a run of that workload: its own deployment, else this one."""
        deployment, parameters = self._deployment_for(chosen)
        if chosen.stale:
            parameters["overrides"] = self._overrides.get(deployment, {}) | renewal(chosen.stale_from)
        return deployment, parameters

    def _deployment_for(self, chosen: Chosen) -> tuple[UUID, dict[str, Any]]:
        own = self._own.get((chosen.workload_id, chosen.client_id))
        if own is not None:
            return own, {}
        ids = {"workload_id": chosen.workload_id, "client_id": chosen.client_id}
        return self.deployment_id, {"config": self._config | ids}


async def find_template(name: str) -> Template:
    """The deployment called `<flow>/<deployment>`. Raises: ConfigError where there is none."""
    async with get_client() as client:
        try:
            deployment = await client.read_deployment_by_name(name)
        except ObjectNotFound as error:
            raise ConfigError(
                f"There is no deployment {name!r} for a sweep to run; make it with `prefect deploy --all`."
            ) from error
        siblings = await all_pages(
            lambda offset: client.read_deployments(flow_filter=OF_FLOW, limit=PAGE, offset=offset)
        )
    own: dict[tuple[str, str], UUID] = {}
    for sibling in siblings:
        config = sibling.parameters.get("config") or {}
        if sibling.id != deployment.id and config.get("workload_id") and config.get("client_id"):
            own[str(config["workload_id"]), str(config["client_id"])] = sibling.id
    overrides = {one.id: dict(one.parameters.get("overrides") or {}) for one in [deployment, *siblings]}
    return Template(deployment.id, dict(deployment.parameters.get("config") or {}), own, overrides)


async def excluded_workloads() -> list[str]:
    """Ids that an operator took out, in the variable `flywheel_excluded_workloads`. Raises: ConfigError."""
    value: Any = await Variable.aget(EXCLUDED, default=[])
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ConfigError(f'The variable {EXCLUDED} must be a JSON list of workload ids, such as ["a", "b"].')
    return value


@task(
    task_run_name="survey",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[2, 10, 30],
    retry_condition_fn=is_transient,
)
async def survey(config: FlywheelConfig, settings: SweepConfig) -> list[Workload]:
    """Every workload of the log with what the history knows of it."""
    logs = await open_log_store(config)
    runs = await open_run_store(config.connections)
    busy = await _under_way()
    stale = await staleness(config, logs, settings)

    def look(progress: Progress) -> list[Workload]:
        with contextlib.closing(runs):
            return [
                workload_as_found(summary, runs, logs, settings, busy, stale)
                for summary in logs.workloads(progress)
            ]

    return await in_thread("survey", look)


def workload_as_found(
    summary: WorkloadSummary,
    runs: RunStore,
    logs: LogStore,
    settings: SweepConfig,
    busy: set[tuple[str, str]],
    stale: Callable[[RunResult], str] = lambda last: "",
) -> Workload:
    """One workload of the log with what the history knows of it; `busy` are those with a run under way.

    `stale` says of the last run that read the log why its evaluation set has to be renewed.
    """
    workload, client = summary.workload_id, summary.client_id
    if workload is None or client is None:
        return Workload(workload, client, summary.records, fresh=summary.records)
    earlier = runs.list_runs(workload, client, RUNS_LOOKED_THROUGH)
    with_results = [run for run in earlier if run.status in WITH_RESULTS and run.finished_at]
    last = with_results[0] if with_results else None  # what a rerun found counts, though it read nothing new
    read = next((run for run in with_results if not run.is_rerun), None)
    began = datetime.fromisoformat(read.started_at) if read else None
    ended = datetime.fromisoformat(str(read.finished_at)) if read else None
    fresh = summary.records
    # Counting reads the log, so it is done only where it can change what the sweep does.
    if began is not None and ended is not None:
        if datetime.now(UTC) - ended < timedelta(days=settings.fresh_days):
            fresh = 0
        else:
            fresh = _count(logs, workload, client, began, settings.min_fresh_records)
    return Workload(
        workload_id=workload,
        client_id=client,
        records=summary.records,
        fresh=fresh,
        evaluated_at=ended,
        under_way=(workload, client) in busy,
        savings=_savings(last),
        tokens_per_month=_tokens_per_month(summary),
        price_per_1k=last.analysis.kpis.cost_per_1k_before if last and last.analysis else None,
        stale=stale(read) if read else "",
        stale_from=settings.stale_from,
    )


def _count(logs: LogStore, workload: str, client: str, since: datetime, enough: int) -> int:
    """Records since a moment; counting ends when there are enough."""
    query = LogQuery(workload_id=workload, client_id=client, since=since, limit=enough)
    try:
        return sum(batch.records.num_rows for batch in logs.read(query, silent))
    except DataError:  # a store says so where it holds nothing that matches
        return 0


def _savings(run: RunResult | None) -> float | None:
    """The month's savings of the best surfaced way of answering, in the middle of its range; None where unknown."""
    if run is None or run.analysis is None:
        return None
    surfaced = {(v.candidate, v.eval_type) for v in run.analysis.verdicts if v.outcome == "surfaced"}
    found = [
        (costs.monthly_savings.low + costs.monthly_savings.high) / 2
        for costs in run.analysis.costs
        if costs.monthly_savings is not None and (costs.candidate, costs.eval_type) in surfaced
    ]
    return max(found, default=None)


def _tokens_per_month(summary: WorkloadSummary) -> float | None:
    tokens = (summary.average_tokens_in or 0.0) + (summary.average_tokens_out or 0.0)
    if not tokens or summary.first is None or summary.last is None:
        return None
    span = (datetime.fromisoformat(summary.last) - datetime.fromisoformat(summary.first)).total_seconds()
    return tokens * summary.records / max(span, DAY) * DAY * DAYS_OF_A_MONTH


async def _under_way() -> set[tuple[str, str]]:
    """Workload and client of the flow runs that have not ended."""
    async with get_client() as client:
        under_way = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY)))
        flow_runs = await all_pages(
            lambda offset: client.read_flow_runs(
                flow_filter=OF_FLOW,
                flow_run_filter=under_way,
                sort=FlowRunSort.ID_DESC,
                limit=PAGE,
                offset=offset,
            )
        )
    now = datetime.now(UTC)
    busy = set()
    for flow_run in flow_runs:
        later = flow_run.state_type == StateType.SCHEDULED and (flow_run.expected_start_time or now) > now
        config = flow_run.parameters.get("config") or {}
        config = config | (flow_run.parameters.get("overrides") or {})  # the form may name the workload there
        if not later:  # tomorrow's run of a schedule keeps nobody from running today
            busy.add((str(config.get("workload_id")), str(config.get("client_id"))))
    return busy


async def start(template: Template, chosen: Chosen) -> UUID:
    """Make the flow run of one workload; asked again by the same sweep, it is the same flow run.

    Raises: TransientRemoteError where the Prefect server stays away.
    """
    deployment_id, parameters = template.run_of(chosen)
    name = hashlib.sha256(f"{chosen.workload_id}\0{chosen.client_id}".encode()).hexdigest()[:16]
    flow_run = await with_server(
        lambda _: arun_deployment(
            deployment_id,
            parameters=parameters,
            timeout=0,
            tags=["sweep"],
            idempotency_key=f"sweep-{runtime.flow_run.id}-{name}",
        )
    )
    get_run_logger().info("Started a run of %s of %s.", chosen.workload_id, chosen.client_id)
    return flow_run.id


async def states_of(flow_run_ids: Sequence[UUID]) -> dict[UUID, tuple[bool, str]]:
    """Whether each flow run has ended, and the name of its state.

    Raises: TransientRemoteError where the Prefect server stays away.
    """
    found = {}
    for flow_run_id in flow_run_ids:
        try:
            state = (await with_server(partial(PrefectClient.read_flow_run, flow_run_id=flow_run_id))).state
        except ObjectNotFound:
            found[flow_run_id] = (True, "deleted")
            continue
        found[flow_run_id] = (bool(state and state.is_final()), state.name if state and state.name else "?")
    return found


@task(task_run_name="report", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=[2, 10, 30])
async def publish_sweep(plan: SweepPlan, outcomes: dict[tuple[str, str], str], dry_run: bool) -> None:
    """The table of what was run, what was skipped and why, with the coverage over it."""
    what = "A dry run: nothing was started. " if dry_run else ""
    await acreate_table_artifact(
        bounded(sweep_rows(plan, outcomes), "flywheel workloads", empty="The log holds no records."),
        key="sweep",
        description=what + coverage_sentence(plan.coverage),
    )
