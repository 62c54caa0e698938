"""Freeing what runs left behind that are no longer alive: found in the ledger and by name, and told.

Nothing is touched that is not known to be ours: a thing is ours if the ledger has it, or if its name begins with that
of a run of our history; and it is free to go if nobody works on that run any more and it is old enough.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
from prefect.logging import get_logger

from blocks.connections import open_platform, open_run_store
from blocks.ports import LedgerEntry, Platform, RunStore
from flywheel.candidates import prefix_of
from flywheel.config import ConnectionsConfig, FlywheelConfig
from flywheel.errors import FlywheelError
from flywheel.results import RunResult
from tasks.cleaning.datasets import clean_up_datasets
from tasks.cleaning.freed import Freed as Freed
from tasks.run_owner import OWNER, Life, life_of, mark_crashed

HOW_TO_FREE = {"deployment": "shut_down", "fine-tune": "cancel_fine_tune", "evaluation": "cancel_evaluation"}
"""Kinds of the ledger, and the method of a platform that frees one by its name."""

UNUSED = timedelta(days=30)
"""How long nobody must have made or found a dataset before it may go; a monthly run still finds its own."""

RUNS_BY_NAME = 200
"""Newest runs whose names are looked for on the platform."""

DIED = "The process that worked on it died. Go on with: flywheel run ... --resume"


async def clean_up(
    connections: ConnectionsConfig,
    *,
    older_than: timedelta,
    datasets_older_than: timedelta = UNUSED,
    dry_run: bool = False,
    run_ids: Collection[str] = (),
) -> list[Freed]:
    """Free what dead runs hold on platforms, and datasets that nothing refers to.

    Args:
        connections: Where history, datasets and models are; a platform other than this one is found by the ledger.
        older_than: What was asked for more recently is left alone.
        datasets_older_than: Datasets that were made or found more recently are left alone.
        dry_run: Find and tell; free nothing.
        run_ids: Only what these runs hold on platforms. One named here counts as dead where nobody can tell.

    What cannot be freed now stays in the ledger, for the next time.
    """
    now = datetime.now(UTC)
    with contextlib.closing(await open_run_store(connections)) as runs:
        found = await _Cleaning(connections, runs, now - older_than, dry_run, set(run_ids)).done()
        if not run_ids:
            found += await clean_up_datasets(connections, runs, now - datasets_older_than, dry_run=dry_run)
        return found


class _Cleaning:
    def __init__(
        self, connections: ConnectionsConfig, runs: RunStore, newest: datetime, dry_run: bool, only: set[str]
    ) -> None:
        self._connections, self._runs = connections, runs
        self._newest, self._dry_run, self._only = newest, dry_run, only
        self._found: list[Freed] = []

    async def done(self) -> list[Freed]:
        entries = await asyncio.to_thread(self._runs.allocated)
        by_run: dict[str, list[LedgerEntry]] = defaultdict(list)
        for entry in entries:
            if not self._only or entry.run_id in self._only:
                by_run[entry.run_id].append(entry)
        for run_id, held in by_run.items():
            await self._clean_run(run_id, held)
        await self._clean_by_name({entry.name for entry in entries}, by_run)
        return self._found

    async def _clean_run(self, run_id: str, held: list[LedgerEntry]) -> None:
        run = await asyncio.to_thread(self._runs.find_run, run_id)
        owner = next((entry for entry in held if entry.kind == OWNER), None)
        life = await self._life(run_id, run, owner)
        if life == "alive":
            return
        things = [entry for entry in held if entry.kind != OWNER]
        for entry in things:
            if life == "unknown":
                why = "nobody here can tell whether its run lives; name the run to clean it up"
                self._found.append(Freed(entry.kind, entry.name, run_id, "left alone", why))
            elif datetime.fromisoformat(entry.created_at) > self._newest:
                self._found.append(Freed(entry.kind, entry.name, run_id, "left alone", "it is too young"))
            else:
                await self._free(entry)
        if life == "dead" and owner is not None and datetime.fromisoformat(owner.created_at) <= self._newest:
            await self._bury(run, owner)

    async def _life(self, run_id: str, run: RunResult | None, owner: LedgerEntry | None) -> Life:
        life = await life_of(run, owner)
        return "dead" if life == "unknown" and run_id in self._only else life

    async def _bury(self, run: RunResult | None, owner: LedgerEntry) -> None:
        """A run whose process died is not running, whatever it says."""
        if run is None or run.status != "running":
            if not self._dry_run:
                await asyncio.to_thread(self._runs.strike_resource, OWNER, owner.name)
            return
        self._found.append(
            Freed("run", run.run_id, run.run_id, self._word("marked failed"), "its process died")
        )
        if self._dry_run:
            return

        def died(kept: RunResult) -> RunResult:
            message = f"{DIED} {kept.run_id}"
            return msgspec.structs.replace(
                kept,
                status="failed",
                message=message,
                error=message,
                finished_at=datetime.now(UTC).isoformat(),
            )

        await asyncio.to_thread(self._runs.update_run, run.run_id, died)
        await mark_crashed(owner)
        await asyncio.to_thread(self._runs.strike_resource, OWNER, owner.name)

    async def _free(self, entry: LedgerEntry) -> None:
        async def gone() -> None:
            await free(await self._platform(entry.platform), entry.kind, entry.name)
            await asyncio.to_thread(self._runs.strike_resource, entry.kind, entry.name)

        await self._attempt(entry.kind, entry.name, entry.run_id, "in the ledger", gone)

    async def _clean_by_name(self, known: set[str], by_run: dict[str, list[LedgerEntry]]) -> None:
        """What is on the platform under the name of a run of ours that is over, though no ledger has it."""
        try:
            platform = await open_platform(self._connections)
            if not hasattr(platform, "existing"):
                return
            existing: list[tuple[str, str]] = await platform.existing()
        except FlywheelError as error:
            self._found.append(
                Freed("platform", self._connections.platform, "", "not looked through", str(error))
            )
            return
        for run in await asyncio.to_thread(self._runs.list_runs, None, None, RUNS_BY_NAME):
            if (self._only and run.run_id not in self._only) or _began(run) > self._newest:
                continue
            mine = [(kind, name) for kind, name in existing if name.startswith(prefix_of(run.run_id))]
            owner = next((entry for entry in by_run.get(run.run_id, []) if entry.kind == OWNER), None)
            if not mine or await self._life(run.run_id, run, owner) != "dead":
                continue
            for kind, name in mine:
                if name not in known:
                    await self._attempt(
                        kind, name, run.run_id, "by name", partial(free, platform, kind, name)
                    )

    async def _attempt(
        self, kind: str, name: str, run_id: str, why: str, freeing: Callable[[], Awaitable[None]]
    ) -> None:
        if self._dry_run:
            self._found.append(Freed(kind, name, run_id, self._word("freed"), why))
            return
        try:
            await freeing()
        except FlywheelError as error:  # the others are freed all the same; the ledger keeps this one
            self._found.append(Freed(kind, name, run_id, "not freed", str(error)))
        else:
            self._found.append(Freed(kind, name, run_id, "freed", why))

    def _word(self, done: str) -> str:
        return f"would be {done}" if self._dry_run else done

    async def _platform(self, name: str) -> Platform:
        return await open_platform(self._connections.model_copy(update={"platform": name}))


async def release(
    config: FlywheelConfig,
    run_id: str,
    kinds: Collection[str] = tuple(HOW_TO_FREE),
    keep: Collection[str] = (),
) -> None:
    """Free what the ledger still has of a run that this process works on; what cannot be freed now stays in it.

    Args:
        kinds: Kinds that are freed.
        keep: Names that are still wanted.
    """
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        for entry in await asyncio.to_thread(runs.allocated, run_id):
            if entry.kind not in kinds or entry.name in keep:
                continue
            connections = config.connections.model_copy(update={"platform": entry.platform})
            try:
                await free(await open_platform(connections), entry.kind, entry.name)
            except FlywheelError as error:
                get_logger("flywheel").warning(
                    "The %s %s of run %s is still there: %s Free it with: flywheel cleanup",
                    entry.kind,
                    entry.name,
                    run_id,
                    error,
                )
            else:
                await asyncio.to_thread(runs.strike_resource, entry.kind, entry.name)


async def free(platform: Platform, kind: str, name: str) -> None:
    """Free one thing by its name, and see it gone. A kind that the platform cannot free by name needs no freeing."""
    method = getattr(platform, HOW_TO_FREE.get(kind, ""), None)
    if method is not None:
        await method(name)


def _began(run: RunResult) -> datetime:
    time = datetime.fromisoformat(run.started_at)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
