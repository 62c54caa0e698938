"""Whether GPU work may start now: the window, the budgets, and the account that the budgets are kept by."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.states import Scheduled

from blocks.connections import open_run_store
from flywheel.candidates import account_of_judge
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.cost.prices import price_of, tokens_price
from flywheel.errors import OutsideWindow, OverBudget
from flywheel.judging.token_use import TokenUse
from flywheel.results import RunResult, Used
from flywheel.scheduling.budgets import expected_use, gpu_use, in_month_of, refusal, used_by, with_used
from flywheel.scheduling.clock import time_now
from flywheel.scheduling.windows import never_closes, next_opening, open_at
from tasks.runs import change_run
from tasks.slots.gpu_slots import slots_of

RUNS_OF_A_MONTH = 2_000
RUNS_LOOKED_THROUGH = 20
SECONDS_BETWEEN_LOOKS = 1.0


def require_open_window(config: FlywheelConfig, what: str) -> None:
    """Raises: OutsideWindow where GPU work may not start now; the message says when it may."""
    now = time_now()
    if open_at(config.window_config, now) is None:
        raise OutsideWindow(_closed(config, what, now))


@asynccontextmanager
async def within_window(config: FlywheelConfig, what: str) -> AsyncIterator[None]:
    """Stops the work inside when the window closes, where the settings say so. Raises: OutsideWindow."""
    require_open_window(config, what)
    opening = open_at(config.window_config, time_now())
    if never_closes(config.window_config) or config.window_config.on_close == "finish" or opening is None:
        yield
        return
    try:
        async with asyncio.timeout(None) as bound:
            watching = asyncio.create_task(_expire_at(opening.ends, bound))
            try:
                yield
            finally:
                watching.cancel()
    except TimeoutError:
        if not bound.expired():
            raise
        raise OutsideWindow(_closed(config, what, opening.ends)) from None


async def _expire_at(moment: datetime, bound: asyncio.Timeout) -> None:
    """By looks at the clock, not by one long sleep: that would end late on a machine that was suspended."""
    while (left := (moment - time_now()).total_seconds()) > 0:
        await asyncio.sleep(min(left, SECONDS_BETWEEN_LOOKS))
    bound.reschedule(asyncio.get_running_loop().time())


def _closed(config: FlywheelConfig, what: str, now: datetime) -> str:
    window = config.window_config
    opens = next_opening(window, now).begins
    return f"{what} waits for the window {window.hours} ({window.timezone}), which opens at {opens:%Y-%m-%d %H:%M} UTC"


async def set_aside(run_id: str, config: FlywheelConfig, candidate: CandidateConfig) -> None:
    """Set aside what the candidate is expected to use. Raises: OverBudget where a budget has not so much left.

    Candidates of one run are decided one after another, each with what the others have set aside. Two runs that begin
    in the same second may both take the last of a month's budget.
    """
    budget, prices = config.budget_config, config.analysis_config.prices
    if not budget.bounded:
        return
    candidates = {entry.name: entry for entry in config.candidates}
    now = datetime.now(UTC)
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        everything = await asyncio.to_thread(runs.list_runs, None, None, RUNS_OF_A_MONTH)
    others = [run for run in everything if run.run_id != run_id]
    ours = [r for r in others if (r.workload_id, r.client_id) == (config.workload_id, config.client_id)]
    need = expected_use(candidate, sum(slots_of(candidate)), budget, prices, ours[:RUNS_LOOKED_THROUGH])
    month = [used_by(run, {}, prices) for run in others if in_month_of(now, run)]
    refused: list[str | None] = []

    def decide(run: RunResult) -> RunResult:
        mine = used_by(run, candidates, prices)
        all_of_month = Used(
            mine.gpu_hours + sum(used.gpu_hours for used in month),
            (mine.money or 0.0) + sum(used.money or 0.0 for used in month),
        )
        currency = config.analysis_config.currency
        refused.append(refusal(candidate.name, need, budget, mine, all_of_month, currency))
        if refused[-1]:
            return run
        return msgspec.structs.replace(run, expected=run.expected | {candidate.name: need})

    await change_run(run_id, config, decide)
    if refused[-1]:
        raise OverBudget(refused[-1])


@asynccontextmanager
async def on_account(run_id: str, config: FlywheelConfig, candidate: CandidateConfig) -> AsyncIterator[None]:
    """Counts the GPU slots held inside, however it ends; a process that is killed takes its count with it."""
    began = time.monotonic()
    try:
        yield
    finally:
        seconds = time.monotonic() - began
        held = gpu_use(candidate, config.analysis_config.prices, sum(slots_of(candidate)), seconds)

        def counted(run: RunResult) -> RunResult:
            expected = {name: need for name, need in run.expected.items() if name != candidate.name}
            return with_used(msgspec.structs.replace(run, expected=expected), candidate.name, held)

        await asyncio.shield(change_run(run_id, config, counted))


async def pay_judge(
    run_id: str, config: FlywheelConfig, candidate: CandidateConfig, model: str, use: TokenUse
) -> None:
    """Count the tokens of a judge against the run, at the price of its model; without one their money is unknown."""
    if use == TokenUse():
        return
    money = tokens_price(price_of(config.analysis_config.prices, [model]), use.tokens_in, use.tokens_out)
    name = account_of_judge(candidate)
    await asyncio.shield(change_run(run_id, config, lambda run: with_used(run, name, Used(0.0, money))))


async def continue_when_open(run_id: str, config: FlywheelConfig) -> str:
    """Have the rest of a run done when the window opens again; returns a sentence that says how.

    A run of a deployment gets a flow run scheduled for that moment, kept by the Prefect server: it survives whatever
    happens to this process. Any other run has to be resumed by hand.
    """
    opens = next_opening(config.window_config, time_now()).begins
    when = f"{opens:%Y-%m-%d %H:%M} UTC"
    deployment_id, flow_run_id = runtime.deployment.id, runtime.flow_run.id
    if not deployment_id:
        return f"The window opens at {when}; go on then with `flywheel run --resume {run_id}` and the same settings."
    async with get_client() as client:
        this = await client.read_flow_run(flow_run_id)
        parameters: dict[str, Any] = this.parameters | {"run_id": run_id}
        await client.create_flow_run_from_deployment(
            deployment_id,
            parameters=parameters,
            state=Scheduled(scheduled_time=opens),
            idempotency_key=f"{run_id}-{opens.isoformat()}",
            tags=["resumed"],
        )
    return f"The rest is scheduled for {when}."
