"""Extraction and validation of a log by partitions, for a cluster: a partition is a task, and a dataset of its own.

What goes over the wire are names: of the log's files, of datasets, and settings. A partition that was made before, by
an earlier attempt at the run, is found and not made again.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Collection, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

import flywheel.curation
import flywheel.records
import flywheel.redaction
from blocks.connections import labels_of, open_dataset_store
from blocks.logs.file_log_store import FileLogStore
from blocks.logs.log_partitions import LogPartition
from blocks.logs.log_query import query_of
from flywheel.config import FlywheelConfig
from flywheel.curation.extraction import no_records
from flywheel.curation.intake import Intake
from flywheel.curation.partitions import curate_part, join_refused, join_validated, joined_counts
from flywheel.history.carry import kept_batches, noting_seen
from flywheel.history.memory import read_kept
from flywheel.progress import Progress, silent
from tasks.curating.curation import Reference, find_or_make
from tasks.curating.dataset_keys import source_hash
from tasks.retry_conditions import is_transient

KEPT = ".kept"  # where the records that earlier runs kept are made ready


class Joined(BaseModel):
    """What extraction and validation leave, whoever did the work."""

    model_config = ConfigDict(frozen=True)

    extracted: Reference
    validated: Reference


@task(
    task_run_name="partition {partition.number}",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[2, 10, 30],
    retry_condition_fn=is_transient,
)
def curate_partition(
    run_id: str, config: FlywheelConfig, history: Reference, partition: LogPartition, since: datetime | None
) -> Reference:
    """Extract and validate some files of the log. Its counts tell which kept records are among them (`seen`)."""
    store = asyncio.run(open_dataset_store(config.connections))
    erased = store.erased()
    key = _key(run_id, config, history, erased) | {"files": partition.files}
    found = store.find("partition", key)
    if found is None:
        kept = Intake(config, erased).table(read_kept(store.open(history.ref)))
        log = FileLogStore(
            Path(config.logs.path).expanduser(),
            config.validation_config.max_record_bytes,
            partition.files,
            labels_of(config.logs),
        )
        intake, seen = Intake(config, erased), set[int]()
        with store.create("partition", key) as staging:
            batches = noting_seen(intake.of(log.read(query_of(config, since), silent)), kept, seen)
            counts = curate_part(batches, staging.path, config.validation_config, silent)
            counts["extract"] |= intake.counts()
            staging.counts = {**counts, "seen": sorted(seen)}
        found = staging.ref
    return Reference(name=found.name, uri=found.uri, counts=found.counts)


@task(task_run_name="join {config.workload_id}", cache_policy=NO_CACHE)
async def join_partitions(
    run_id: str, config: FlywheelConfig, history: Reference, partitions: list[Reference]
) -> Joined:
    """One validated table of all partitions, and of what earlier runs kept and the log does not hold any more."""
    store = await open_dataset_store(config.connections)
    places = [store.open(partition.ref) for partition in partitions]
    erased = store.erased()
    kept = Intake(config, erased).table(read_kept(store.open(history.ref)))
    read = joined_counts(partition.counts["extract"] for partition in partitions)
    if read["read"] == read["invalid"]:
        raise no_records(read)
    seen = {place for partition in partitions for place in partition.counts["seen"]}
    unseen = sorted(set(range(kept.num_rows)) - seen)
    key = _key(run_id, config, history, erased) | {"parents": [partition.name for partition in partitions]}

    def validated(out: Path, progress: Progress) -> dict[str, Any]:
        more = _of_kept(kept, unseen, out / KEPT, config, progress)
        join_validated([*places, *([out / KEPT] if more else [])], out)
        shutil.rmtree(out / KEPT, ignore_errors=True)
        counts = joined_counts([*(partition.counts["validate"] for partition in partitions), *more[1:]])
        progress("validate", counts["read"], counts["read"], "records")
        return {**counts, "of_kept": more[0] if more else {}}

    def refused(out: Path, progress: Progress) -> dict[str, Any]:
        join_refused(places, out)
        return {**joined_counts([read, table.counts["of_kept"]]), "not_in_log": len(unseen)}

    table = await find_or_make(config, "validated", key, validated)
    return Joined(extracted=await find_or_make(config, "extracted", key, refused), validated=table)


def _of_kept(
    kept: pa.Table, unseen: Sequence[int], out: Path, config: FlywheelConfig, progress: Progress
) -> list[dict[str, Any]]:
    """Counts of extracting and validating the kept records that the log does not hold; empty where it has them all."""
    if not unseen:
        return []
    counts = curate_part(kept_batches(kept, unseen), out, config.validation_config, progress)
    return [counts["extract"], counts["validate"]]


def _key(run_id: str, config: FlywheelConfig, history: Reference, erased: Collection[str]) -> dict[str, Any]:
    """What a partition is made from. Records erased since make it another: theirs were emptied, not taken out."""
    return {
        "erased": sha256(json.dumps(sorted(erased)).encode()).hexdigest(),
        "run": run_id,
        "history": history.name,
        "validation": config.validation_config.model_dump(),
        "redaction": config.redaction_config.model_dump(),
        "code": source_hash(flywheel.curation, flywheel.records, flywheel.redaction),
    }
