"""The concurrency limit that candidates of all runs share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.logging import get_run_logger

from blocks.connections import open_run_store
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.errors import ConfigError
from flywheel.scheduling.expected_length import Amount, estimated_seconds, seconds_of_last_time
from tasks.slots.lease import GPU_LIMIT

RUNS_LOOKED_THROUGH = 5


@task(task_run_name="gpu slots", cache_policy=NO_CACHE)
async def ensure_gpu_slots(config: FlywheelConfig) -> int:
    """Create the limit `gpu` if the server has none; returns its size.

    Raises: ConfigError if a candidate or the judge needs more slots than there are, for it would wait for ever.
    """
    async with get_client() as client:
        try:
            size = (await client.read_global_concurrency_limit_by_name(GPU_LIMIT)).limit
        except ObjectNotFound:
            size = config.gpu_slots
            limit = GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=size)
            try:
                await client.create_global_concurrency_limit(limit)
                get_run_logger().info("Created the concurrency limit %r with %d slots.", GPU_LIMIT, size)
            except (ObjectAlreadyExists, PrefectHTTPStatusError):  # another run was faster; theirs counts
                size = (await client.read_global_concurrency_limit_by_name(GPU_LIMIT)).limit
    for candidate in config.candidates:
        needed = slots_of(candidate)
        if sum(needed) > size:
            raise ConfigError(
                f"Candidate {candidate.name!r} needs {sum(needed)} GPU slots ({needed[0]} to be deployed, {needed[1]} "
                f"to be fine-tuned) and the limit {GPU_LIMIT!r} has {size}. Lower its gpus or training_gpus, or raise "
                f"the limit: prefect gcl update {GPU_LIMIT} --limit {sum(needed)}"
            )
    judge = config.judge_config
    if judge.deployed and judge.gpus > size:
        raise ConfigError(
            f"The judge needs {judge.gpus} GPU slots and the limit {GPU_LIMIT!r} has {size}. Lower judge_config.gpus, "
            f"or raise the limit: prefect gcl update {GPU_LIMIT} --limit {judge.gpus}"
        )
    return size


def slots_of(candidate: CandidateConfig) -> tuple[int, int]:
    """GPU slots of the candidate's deployment, and of its fine-tune."""
    return candidate.gpus, candidate.training_gpus if candidate.customize else 0


async def expected_length(
    config: FlywheelConfig, candidate: CandidateConfig, rows: Mapping[str, int]
) -> float:
    """Seconds that the candidate may need: what it took in earlier runs of the workload, else an estimate.

    Args:
        rows: Of each split of the datasets.
    """
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        earlier = await asyncio.to_thread(
            runs.list_runs, config.workload_id, config.client_id, RUNS_LOOKED_THROUGH
        )
    known = seconds_of_last_time(
        [result for run in earlier for result in run.candidates], candidate.name, candidate.model
    )
    return estimated_seconds(candidate, _amount(config, candidate, rows)) if known is None else known


def _amount(config: FlywheelConfig, candidate: CandidateConfig, rows: Mapping[str, int]) -> Amount:
    training = candidate.training_config or config.training_config
    evaluations = 1 + candidate.icl + candidate.customize
    return Amount(
        trained=training.epochs * rows.get("train", 0) if candidate.customize else 0,
        asked=evaluations * rows.get("evaluation", 0),
    )
