"""A run for each workload of the log that has something new to tell.

survey → plan → start and wait, so many at once → report
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID

from prefect import flow
from prefect.logging import get_run_logger
from pydantic import BaseModel, ConfigDict

from flywheel.config.sweep import SweepConfig
from flywheel.report.sweep import coverage_sentence
from flywheel.scheduling.sweep_plan import SweepPlan, plan_sweep
from tasks.sweep import Template, excluded_workloads, find_template, publish_sweep, start, states_of, survey

DEFAULTS = SweepConfig()  # a default instance shows in the form of the Prefect UI; a factory does not


class SweepResult(BaseModel):
    """`runs` maps '<workload> of <client>' to the final state of its run; shares are None without any records."""

    model_config = ConfigDict(frozen=True)

    runs: dict[str, str]
    skipped: dict[str, str]
    share_of_traffic_with_workload: float | None
    share_of_workloads_evaluated: float | None


@flow(name="sweep", flow_run_name="sweep with {deployment}")
async def sweep(
    deployment: str = "flywheel/any-workload", settings: SweepConfig = DEFAULTS, dry_run: bool = False
) -> SweepResult:
    """Find the workloads in the log and run the flywheel for each that is worth it, the most promising first.

    Args:
        deployment: The deployment to run for each workload, '<flow>/<deployment>'; its config says where the log and
            the history are. A workload that has a deployment of its own is run by that one.
        settings: Which workloads get a run, and how many at once.
        dry_run: Report what would be run and what would be skipped, and start nothing.
    """
    template = await find_template(deployment)
    excluded = await excluded_workloads()
    workloads = await survey(template.config, settings)
    plan = plan_sweep(workloads, settings, datetime.now(UTC), excluded)
    get_run_logger().info("%s", coverage_sentence(plan.coverage))
    outcomes: dict[tuple[str, str], str] = {}
    try:
        if not dry_run:
            await run_all(template, plan, settings, outcomes)
    finally:
        await publish_sweep(plan, outcomes, dry_run)
    return SweepResult(
        runs={f"{workload} of {client}": state for (workload, client), state in outcomes.items()},
        skipped={f"{s.workload_id} of {s.client_id}": s.why for s in plan.skipped},
        share_of_traffic_with_workload=plan.coverage.traffic_share,
        share_of_workloads_evaluated=plan.coverage.evaluated_share,
    )


async def run_all(
    template: Template, plan: SweepPlan, settings: SweepConfig, outcomes: dict[tuple[str, str], str]
) -> None:
    """Start a run for each chosen workload in order, `at_once` of them under way; fills `outcomes` as they end."""
    waiting = [(chosen.workload_id, chosen.client_id, chosen) for chosen in plan.chosen]
    running: dict[UUID, tuple[str, str]] = {}
    deadline = time.monotonic() + settings.wait_hours * 3600
    while waiting or running:
        while waiting and len(running) < settings.at_once:
            workload_id, client_id, chosen = waiting.pop(0)
            running[await start(template, chosen)] = (workload_id, client_id)
            outcomes[workload_id, client_id] = "started"
        await asyncio.sleep(settings.poll_seconds)
        for flow_run_id, (ended, state) in (await states_of(list(running))).items():
            outcomes[running[flow_run_id]] = state
            if ended:
                del running[flow_run_id]
        if time.monotonic() > deadline:
            for workload_id, client_id, _ in waiting:
                outcomes[workload_id, client_id] = (
                    f"not started: the sweep's {settings.wait_hours:g} hours were over"
                )
            return
