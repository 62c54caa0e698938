"""The finished run, paused with a form: what a person decides of each surfaced candidate is recorded, no more.

Not tasks: only a flow can pause, so these are called from the flow itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from prefect import runtime
from prefect.exceptions import NotPausedError
from prefect.flow_runs import apause_flow_run, aresume_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from pydantic import Field, field_validator

from blocks.connections import open_run_store
from flywheel.config import FlywheelConfig
from flywheel.decisions import CHECKLIST, latest_decision, undecided, with_decision
from flywheel.errors import FlywheelError
from flywheel.progress import listener
from flywheel.report.analysis_tables import verdict_rows
from flywheel.report.commands import command
from flywheel.report.escaping import markdown
from flywheel.results import RunResult

SECONDS_BETWEEN_LOOKS = 10.0
SPARE_SECONDS = 600
"""Prefect's own deadline is later than ours: a pause that it lets run out fails the whole run."""

NOBODY = "(nobody)"
"""Who fills in the form when the decision came from elsewhere, or when time is up."""

Choice = Literal["leave open", "approve", "reject"]
RECORDED: dict[Choice, Literal["approved", "rejected", "open"]] = {
    "approve": "approved",
    "reject": "rejected",
    "leave open": "open",
}


class DecisionForm(RunInput):
    """What the person fills in. Nothing is promoted or deployed by it."""

    decision: Choice = Field(default="leave open", description="What you decide of this candidate.")
    by: str = Field(min_length=1, description="Your name.")
    note: str = Field(default="", description="Why.")
    spot_check: bool = Field(default=False, description=CHECKLIST["spot-check"])
    domain_suite: bool = Field(default=False, description=CHECKLIST["domain-suite"])
    load_test: bool = Field(default=False, description=CHECKLIST["load-test"])
    security_and_compliance: bool = Field(default=False, description=CHECKLIST["security-and-compliance"])

    @field_validator("by", "note")
    @classmethod
    def _without_blanks_around(cls, value: str) -> str:
        return value.strip()

    def done(self) -> list[str]:
        """The points that were ticked off."""
        return [point for point in CHECKLIST if getattr(self, point.replace("-", "_"))]


async def wait_for_decisions(
    run_id: str, config: FlywheelConfig, *, look_every: float = SECONDS_BETWEEN_LOOKS
) -> None:
    """Pause the flow for each surfaced candidate that nobody has decided of, until all are or time is up.

    A decision recorded elsewhere meanwhile (`flywheel decide`) ends the pause too. What goes wrong here is logged
    and ends nothing: the results are there, and a decision can be recorded at any time.
    """
    deadline = time.monotonic() + config.decision_config.wait_hours * 3600
    run = await _load(config, run_id)
    if not undecided(run):
        get_run_logger().info("No candidate was surfaced, or all are decided of: nothing to wait for.")
        return
    for candidate in undecided(run):
        try:
            await _decide(run_id, candidate, config, deadline, look_every)
        except (
            Exception
        ) as error:  # the run is over and its results are there: asking must not take them away
            get_run_logger().error("Nobody could be asked about %s", candidate, exc_info=error)


async def _decide(
    run_id: str, candidate: str, config: FlywheelConfig, deadline: float, look_every: float
) -> None:
    run = await _load(config, run_id)
    if candidate not in undecided(run):
        return
    flow_run_id = UUID(str(runtime.flow_run.id))
    left = max(1.0, deadline - time.monotonic())
    stage = f"decision on {candidate}"
    how = f"Resume the run in the Prefect UI, or: {_decide_command(run_id, candidate, config)}"
    listener()(stage, 0, 1, how)
    watching = asyncio.create_task(
        _resume_when_over(flow_run_id, run_id, candidate, config, deadline, look_every)
    )
    try:
        form = await apause_flow_run(
            wait_for_input=DecisionForm.with_initial_data(description=form_text(run, candidate)),
            timeout=int(left + SPARE_SECONDS),
            poll_interval=max(1, int(look_every)),
        )
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    listener()(stage, 1, 1, "")
    if form.by != NOBODY:
        await _record(run_id, candidate, config, form)


def _decide_command(run_id: str, candidate: str, config: FlywheelConfig) -> str:
    return command(
        f"decide {run_id} {shlex.quote(candidate)} --approve --by NAME", config.connections.model_dump()
    )


def form_text(run: RunResult, candidate: str) -> str:
    """What stands above the form: the verdicts, and where to look."""
    report = command(f"report {run.run_id}", run.config.get("connections"))
    lines = [f"## {markdown(candidate)}", "", "It was surfaced. What do you decide?", ""]
    lines += [
        f"- {row['evaluation']}: **{row['verdict']}**, {markdown(str(row['against production']))} against production "
        f"on {row['n']} items. {markdown(row['why'])}"
        for row in verdict_rows(run)
        if row["candidate"] == candidate
    ]
    lines += [
        "",
        f"Read its divergent answers first: `{report}`, or the artifacts of this run. "
        "Nothing is promoted or deployed by this form.",
    ]
    return "\n".join(lines)


async def _resume_when_over(
    flow_run_id: UUID,
    run_id: str,
    candidate: str,
    config: FlywheelConfig,
    deadline: float,
    look_every: float,
) -> None:
    """Resume the paused flow when the decision was recorded elsewhere, or when time is up."""
    while True:
        await asyncio.sleep(min(look_every, max(0.1, deadline - time.monotonic())))
        decided = False
        with contextlib.suppress(FlywheelError):  # a store that is away for a while is looked at again
            latest = latest_decision(await _load(config, run_id), candidate)
            decided = latest is not None and latest.decision != "open"
        if not decided and time.monotonic() < deadline:
            continue
        if not decided:
            get_run_logger().warning(
                "Nobody decided of %s within %g hours. Use: %s",
                candidate,
                config.decision_config.wait_hours,
                _decide_command(run_id, candidate, config),
            )
        with contextlib.suppress(NotPausedError):  # somebody has just sent the form
            await aresume_flow_run(flow_run_id, run_input=DecisionForm(by=NOBODY).model_dump())
            return


async def _record(run_id: str, candidate: str, config: FlywheelConfig, form: DecisionForm) -> None:
    runs = await open_run_store(config.connections)
    with contextlib.closing(runs):
        await asyncio.to_thread(
            runs.update_run,
            run_id,
            lambda run: with_decision(
                run,
                candidate,
                RECORDED[form.decision],
                by=form.by,
                note=form.note,
                done=form.done(),
                at=datetime.now(UTC),
            ),
        )


async def _load(config: FlywheelConfig, run_id: str) -> RunResult:
    runs = await open_run_store(config.connections)
    with contextlib.closing(runs):
        return await asyncio.to_thread(runs.load_run, run_id)
