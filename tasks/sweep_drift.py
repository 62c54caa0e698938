"""Whether a workload's evaluation set still stands for its traffic, as far as a sweep can see without a run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from prefect.logging import get_run_logger

from blocks.connections import open_dataset_store
from blocks.ports import DatasetStore, LogQuery, LogStore
from blocks.run_evidence import stored
from flywheel.config import FlywheelConfig
from flywheel.config.sweep import SweepConfig
from flywheel.errors import DataError, FlywheelError
from flywheel.findings.drift import reasons
from flywheel.history.log_drift import drift_of_log
from flywheel.history.memory import read_memory
from flywheel.progress import silent
from flywheel.results import RunResult

MOST_RECORDS = 1_000


async def staleness(
    config: FlywheelConfig, logs: LogStore, settings: SweepConfig
) -> Callable[[RunResult], str]:
    """A function that says why the evaluation set that a run left is stale; empty where it is not, or nobody asks."""
    threshold = settings.stale_from
    if threshold is None:
        return lambda last: ""
    store = await open_dataset_store(config.connections)
    logger = get_run_logger()

    def why(last: RunResult) -> str:
        try:
            return stale_because(last, config, logs, store, threshold)
        except FlywheelError as error:
            logger.warning(
                "Whether the evaluation set of run %s is stale is not known: %s", last.run_id, error
            )
            return ""

    return why


def stale_because(
    last: RunResult, config: FlywheelConfig, logs: LogStore, store: DatasetStore, stale_from: float
) -> str:
    """Why the set that `last` left does not stand for the newest calls of the log; empty where it does.

    Raises: FlywheelError where the log or what the run left cannot be read.
    """
    if last.memory is None or _could_not_renew(last):
        return ""
    memory = stored(store, last.memory)
    drawn_from = read_memory(memory).drawn_from
    if drawn_from is None or drawn_from.newest is None:
        return ""
    since = datetime.fromtimestamp(drawn_from.newest, UTC)
    query = LogQuery(last.workload_id, last.client_id, since=since, limit=MOST_RECORDS)
    try:
        batches = list(logs.read(query, silent))
    except DataError:  # a store says so where it holds nothing that matches
        return ""
    drift = drift_of_log(memory, batches, config, stale_from)
    return reasons(drift) if drift is not None else ""


def renewal(stale_from: float | None) -> dict[str, Any]:
    """Single settings with which a run draws a new set where the sweep found the old one stale."""
    return {"history_config.renew_when_stale": True, "history_config.stale_from": stale_from}


def _could_not_renew(last: RunResult) -> bool:
    """Whether it was to renew the stale set and found too little traffic: the next one would do no better."""
    analysis = last.analysis
    if analysis is None or analysis.drift is None or not analysis.drift.stale:
        return False
    asked = bool(last.config.get("history_config", {}).get("renew_when_stale"))
    return asked and not (analysis.holdout is not None and analysis.holdout.renewed)
