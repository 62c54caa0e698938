"""Frees what dead runs left behind, and says so in an artifact. Safe to repeat; made for a schedule."""

from __future__ import annotations

from datetime import timedelta

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from flywheel.config import ConnectionsConfig
from flywheel.report.bounded import bounded
from tasks.cleaning.cleanup import clean_up
from tasks.cleaning.freed import Freed
from tasks.cleaning.slots import clean_up_slots

EMBEDDED = ConnectionsConfig()  # a default instance shows in the form of the Prefect UI; a factory does not
NOTHING = "Nothing was left behind."


@flow(name="cleanup")
async def cleanup(
    connections: ConnectionsConfig = EMBEDDED,
    older_than_minutes: float = 10.0,
    dry_run: bool = False,
    run_ids: list[str] | None = None,
    datasets_older_than_days: float = 30.0,
) -> State[list[Freed]]:
    """Free deployments, jobs and claims on GPU slots of runs that are no longer alive, and datasets nothing refers to.

    Args:
        connections: Where history, datasets and models are.
        older_than_minutes: What was asked for more recently is left alone.
        dry_run: Only say what would be freed.
        run_ids: Only what these runs hold; a run named here counts as dead where nobody can tell. Empty: all.
        datasets_older_than_days: Datasets that were made or found more recently are left alone.
    """
    found = await clean_up(
        connections,
        older_than=timedelta(minutes=older_than_minutes),
        datasets_older_than=timedelta(days=datasets_older_than_days),
        dry_run=dry_run,
        run_ids=run_ids or [],
    )
    if not run_ids:
        found += await clean_up_slots(dry_run=dry_run)
    for thing in found:
        get_run_logger().info(
            "%s %s of run %s: %s (%s)", thing.kind, thing.name, thing.run_id, thing.done, thing.why
        )
    await acreate_table_artifact(
        bounded(rows_of(found), "the logs of this run", empty=NOTHING),
        key="cleanup",
        description="Cleanup, dry run" if dry_run else "Cleanup",
    )
    return Completed(message=summary_of(found), data=found)


def rows_of(found: list[Freed]) -> list[dict[str, object]]:
    """A row for each thing."""
    return [
        {"what": thing.kind, "name": thing.name, "run": thing.run_id, "done": thing.done, "why": thing.why}
        for thing in found
    ]


def summary_of(found: list[Freed]) -> str:
    """One sentence."""
    counts: dict[str, int] = {}
    for thing in found:
        counts[thing.done] = counts.get(thing.done, 0) + 1
    return ", ".join(f"{count} {done}" for done, count in counts.items()) + "." if counts else NOTHING
