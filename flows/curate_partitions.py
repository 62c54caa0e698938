"""From the log to the validated table: in this process, or by partitions on a Dask or Ray cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prefect import flow

from blocks.logs.log_partitions import partitions_of
from flywheel.config import FlywheelConfig
from flywheel.errors import ConfigError
from tasks.curating.curation import Reference, extract_records, validate_records
from tasks.curating.partitions import Joined, curate_partition, join_partitions
from tasks.curating.watermark import watermark

_ONE_THREAD_EACH = {
    "threads_per_worker": 1,
    "processes": True,
    "host": "127.0.0.1",
    "dashboard_address": None,  # it would listen on every address
}


async def extract_and_validate(run_id: str, config: FlywheelConfig, history: Reference) -> Joined:
    """The first two steps; which records come out does not depend on where they are done."""
    cluster = config.connections.curation_cluster
    if not cluster:
        extracted = await extract_records(run_id, config, history)
        return Joined(extracted=extracted, validated=await validate_records(config, extracted))
    if config.connections.log_store != "files" or config.data_split_config.limit is not None:
        raise ConfigError(
            "connections.curation_cluster reads every record of a log in files: use connections.log_store=files and "
            "data_split_config.limit=none, with logs.since and logs.traffic_share to read less."
        )
    by_partitions = curate_by_partitions.with_options(task_runner=task_runner_of(cluster))
    joined: Joined = await by_partitions(run_id, config, history)
    return joined


@flow(name="curation by partitions", flow_run_name="{config.workload_id} by partitions")
async def curate_by_partitions(run_id: str, config: FlywheelConfig, history: Reference) -> Joined:
    """Extract and validate partitions on the cluster, and join them here.

    Args:
        run_id: The run that this is a part of.
        config: The settings of the run.
        history: What earlier runs left.
    """
    since = await watermark(run_id, config)
    log, size = Path(config.logs.path).expanduser(), int(config.logs.partition_megabytes * 1_000_000)
    partitions = await asyncio.to_thread(partitions_of, log, size)
    futures = [curate_partition.submit(run_id, config, history, partition, since) for partition in partitions]
    made = [await asyncio.to_thread(future.result) for future in futures]
    return await join_partitions(run_id, config, history, made)


def task_runner_of(cluster: str) -> Any:
    """Prefect's task runner for 'dask' or 'ray' on this machine, or for 'dask:<address>' or 'ray:<address>'.

    Raises: ConfigError for anything else, and where its package is missing.
    """
    kind, _, address = cluster.partition(":")
    if kind not in ("dask", "ray"):
        raise ConfigError(
            f"connections.curation_cluster is {cluster!r}; use 'dask', 'ray', or one with an address such as "
            "'dask:tcp://scheduler:8786'."
        )
    try:
        if kind == "dask":
            from prefect_dask import DaskTaskRunner

            return (
                DaskTaskRunner(address=address)
                if address
                else DaskTaskRunner(cluster_kwargs=_ONE_THREAD_EACH)
            )
        from prefect_ray import RayTaskRunner

        return RayTaskRunner(address=address or None)
    except ImportError as error:
        raise ConfigError(
            f"connections.curation_cluster={cluster} needs a package: pip install 'flywheel[{kind}]'."
        ) from error
