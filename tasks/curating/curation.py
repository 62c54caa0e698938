"""The steps of curation as tasks. Each hands on references to datasets; a dataset made before is found, not made again.

A dataset is keyed by the content of its parents, by the settings that shape it, and by the source of the code that
makes it, so that neither changed data, nor a changed setting, nor a mended function is served a stale result.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from blocks.connections import open_dataset_store, open_log_store, open_platform
from blocks.endpoints.embedder import stored_embedder, vector_search
from blocks.logs.log_query import query_of
from blocks.ports import DatasetRef
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.curation.duplicates.contradictions import screening_of
from flywheel.curation.duplicates.deduplication import deduplicate
from flywheel.curation.extraction import extract
from flywheel.curation.intake import Intake
from flywheel.curation.leakage.check import check_leakage
from flywheel.curation.texts.embeddings import embeddings_if
from flywheel.curation.texts.fixed_text_search import fixed_text_of
from flywheel.curation.validation.validate_stage import validate
from flywheel.datasets.build import build_datasets
from flywheel.datasets.icl import build_icl
from flywheel.history.carry import with_kept
from flywheel.history.memory import kept_ids, read_kept
from flywheel.progress import Progress
from tasks.curating.dataset_keys import embedder_key, key_of
from tasks.curating.watermark import watermark
from tasks.progress import in_thread
from tasks.retry_conditions import is_transient


class Reference(BaseModel):
    """A dataset by name and place; small enough to travel as a parameter. `counts` are the step's own."""

    model_config = ConfigDict(frozen=True)

    name: str
    uri: str
    counts: dict[str, Any] = {}

    @property
    def ref(self) -> DatasetRef:
        """What the dataset store opens."""
        return DatasetRef(name=self.name, uri=self.uri, counts=self.counts)


class HistoryOfData(BaseModel):
    """What earlier runs have to do with the datasets of this one; `memory` is what they left."""

    model_config = ConfigDict(frozen=True)

    memory: Reference | None = None
    kept: int = 0
    fresh_ids: list[str] = []
    held_back: int = 0
    not_in_log: int = 0
    renewed: bool = False
    renewal_short: int | None = None
    kept_near_trained: int = 0


class CuratedData(BaseModel):
    """What curation leaves for the candidates."""

    model_config = ConfigDict(frozen=True)

    validated: Reference
    assignment: Reference
    datasets: Reference
    history: HistoryOfData = HistoryOfData()


@task(
    task_run_name="extract {config.workload_id}",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[2, 10, 30],
    retry_condition_fn=is_transient,
)
async def extract_records(run_id: str, config: FlywheelConfig, history: Reference) -> Reference:
    """Copy the workload's records out of the log store. A run that is resumed reads the same copy again.

    Items of the kept evaluation set that the log does not hold any more are added."""
    logs = await open_log_store(config)
    query = query_of(config, await watermark(run_id, config))
    store = await open_dataset_store(config.connections)
    kept, erased = read_kept(store.open(history.ref)), store.erased()

    def make(out: Path, progress: Progress) -> dict[str, Any]:
        added: list[int] = []
        intake = Intake(config, erased)
        log, known = intake.of(logs.read(query, progress)), Intake(config, erased).table(kept)
        counts = extract(with_kept(log, known, added.append), out, progress)
        return {**counts, **intake.counts(), "not_in_log": sum(added)}

    key: dict[str, Any] = {"run": run_id}
    if config.redaction_config.enabled:
        key["redaction"] = config.redaction_config.model_dump()
    return await find_or_make(config, "extracted", key, make)


@task(task_run_name="validate", cache_policy=NO_CACHE)
async def validate_records(config: FlywheelConfig, extracted: Reference) -> Reference:
    """Keep what can be learned from and measured against; see `flywheel.curation.validation.validator`."""
    store = await open_dataset_store(config.connections)
    source = store.open(extracted.ref)
    settings = config.validation_config.model_dump()

    def make(out: Path, progress: Progress) -> dict[str, Any]:
        return validate(source, out, config.validation_config, progress)

    return await find_or_make(config, "validated", key_of([source], settings), make)


@task(
    task_run_name="deduplicate",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[5, 30],
    retry_condition_fn=is_transient,
)
async def deduplicate_records(config: FlywheelConfig, validated: Reference, history: Reference) -> Reference:
    """Merge repeats and name the groups that must stay together; see `flywheel.curation.duplicates.deduplication`."""
    store = await open_dataset_store(config.connections)
    source = store.open(validated.ref)
    kept = kept_ids(read_kept(store.open(history.ref)))
    wanted = config.dedup_config.semantic.mode != "off"
    settings = (
        config.dedup_config.model_dump() | ({"kept": kept} if kept else {}) | embedder_key(config, wanted)
    )
    embedder = stored_embedder(config.icl_config.embedder, store)

    def make(out: Path, progress: Progress) -> dict[str, Any]:
        fixed, of_all = fixed_text_of(source, config.dedup_config), of_all_records(config)
        with embeddings_if(wanted, source, out, embedder, progress, fixed) as embeddings:
            return deduplicate(
                source,
                out,
                config.dedup_config,
                progress,
                of_all,
                screening_of(source, config.dedup_config, kept).preferred.union(kept),
                fixed=fixed,
                embeddings=embeddings,
            )

    return await find_or_make(config, "deduplicated", key_of([source], settings), make)


@task(
    task_run_name="check leakage",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[5, 30],
    retry_condition_fn=is_transient,
)
async def require_no_leakage(
    config: FlywheelConfig, validated: Reference, assignment: Reference
) -> Reference:
    """Prove that evaluation is absent from training, or make it so; see `flywheel.curation.leakage.check`."""
    store = await open_dataset_store(config.connections)
    records, sides = store.open(validated.ref), store.open(assignment.ref)
    wanted = config.leakage_config.semantic.mode != "off"
    settings = config.leakage_config.model_dump() | embedder_key(config, wanted)
    settings["leave_out_fixed_text"] = config.dedup_config.leave_out_fixed_text
    embedder = stored_embedder(config.icl_config.embedder, store)

    def make(out: Path, progress: Progress) -> dict[str, Any]:
        fixed, of_all = fixed_text_of(records, config.dedup_config), of_all_records(config)
        with embeddings_if(wanted, records, out, embedder, progress, fixed) as embeddings:
            return check_leakage(
                records, sides, out, config.leakage_config, progress, of_all, fixed, embeddings
            )

    return await find_or_make(config, "checked", key_of([records, sides], settings), make)


@task(task_run_name="build datasets", cache_policy=NO_CACHE)
async def build_base_and_training(
    config: FlywheelConfig, validated: Reference, assignment: Reference
) -> Reference:
    """Write evaluation items and fine-tuning rows; see `flywheel.datasets.build`."""
    store = await open_dataset_store(config.connections)
    records, sides = store.open(validated.ref), store.open(assignment.ref)
    settings = {"parse_function_arguments": config.data_split_config.parse_function_arguments}

    def make(out: Path, progress: Progress) -> dict[str, Any]:
        return build_datasets(records, sides, out, config.data_split_config, progress)

    return await find_or_make(config, "datasets", key_of([records, sides], settings), make)


@task(
    task_run_name="icl dataset {candidate.name}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[5, 30],
    retry_condition_fn=is_transient,
)
async def build_icl_dataset(
    config: FlywheelConfig, candidate: CandidateConfig, data: CuratedData
) -> Reference:
    """Put in-context examples before each item, within the candidate's own context and tokenizer."""
    store = await open_dataset_store(config.connections)
    platform = await open_platform(config.connections)
    records, sides = store.open(data.validated.ref), store.open(data.assignment.ref)
    counter = await platform.token_counter(candidate)
    context = candidate.context_length or await platform.context_length(candidate)
    context = min(context, config.icl_config.max_context_length)
    settings = {
        "icl": config.icl_config.model_dump(),
        "seed": config.data_split_config.random_seed,
        "parse_function_arguments": config.data_split_config.parse_function_arguments,
        "context": context,
        "tokenizer": counter.name,
        "leave_out_fixed_text": config.dedup_config.leave_out_fixed_text,
    }

    embedder = stored_embedder(config.icl_config.embedder, store)
    search = await vector_search(config.icl_config.embedder)

    def make(out: Path, progress: Progress) -> dict[str, Any]:
        icl, split = config.icl_config, config.data_split_config
        fixed = fixed_text_of(records, config.dedup_config)
        return build_icl(records, sides, out, icl, split, counter, context, progress, embedder, search, fixed)

    return await find_or_make(config, "icl", key_of([records, sides], settings), make, of=candidate.name)


async def find_or_make(
    config: FlywheelConfig,
    kind: str,
    key: dict[str, Any],
    make: Callable[[Path, Progress], dict[str, Any]],
    of: str = "",
) -> Reference:
    store = await open_dataset_store(config.connections)
    found = store.find(kind, key)
    if found is None:

        def work(progress: Progress) -> DatasetRef:
            with store.making(kind, key, progress):
                made = store.find(kind, key)
                if made is not None:  # by whoever was here before: another candidate of the same model
                    return made
                with store.create(kind, key) as staging:
                    staging.counts = make(staging.path, progress)
            return staging.ref

        found = await in_thread(f"{kind} {of}".strip(), work, of)
    return Reference(name=found.name, uri=found.uri, counts=found.counts)


def of_all_records(config: FlywheelConfig) -> dict[str, str]:
    """What every record of the run shares, and a rejected one is written with."""
    return {"workload_id": config.workload_id, "client_id": config.client_id}
