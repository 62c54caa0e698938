"""The concurrency limit that candidates of all runs share."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.logging import get_run_logger

from flywheel.config import FlywheelConfig
from flywheel.errors import ConfigError

GPU_LIMIT = "gpu"


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
        if candidate.gpus > size:
            raise ConfigError(
                f"Candidate {candidate.name!r} needs {candidate.gpus} GPU slots and the limit {GPU_LIMIT!r} has "
                f"{size}. Lower its gpus, or raise the limit: prefect gcl update {GPU_LIMIT} --limit {candidate.gpus}"
            )
    judge = config.judge_config
    if judge.deployed and judge.gpus > size:
        raise ConfigError(
            f"The judge needs {judge.gpus} GPU slots and the limit {GPU_LIMIT!r} has {size}. Lower judge_config.gpus, "
            f"or raise the limit: prefect gcl update {GPU_LIMIT} --limit {judge.gpus}"
        )
    return size
