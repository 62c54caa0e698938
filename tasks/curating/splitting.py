"""The step of curation that gives every record a side, as a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.connections import open_dataset_store
from flywheel.config import FlywheelConfig
from flywheel.curation.splitting.screening import screened
from flywheel.curation.splitting.split import split
from flywheel.curation.splitting.split_history import split_with_history
from flywheel.curation.texts.fixed_text_search import fixed_text_of
from flywheel.curation.validation.report import telling_refusals
from flywheel.history.standing import standing_of
from flywheel.progress import Progress
from tasks.curating.curation import Reference, find_or_make, of_all_records
from tasks.curating.dataset_keys import key_of


@task(task_run_name="split seed={config.data_split_config.random_seed}", cache_policy=NO_CACHE)
async def split_records(
    config: FlywheelConfig,
    extracted: Reference,
    validated: Reference,
    deduplicated: Reference,
    history: Reference,
) -> Reference:
    """Give every cluster a side; see `flywheel.curation.splitting`, its `split_history` where earlier runs were."""
    store = await open_dataset_store(config.connections)
    records, source, memory = (store.open(part.ref) for part in (validated, deduplicated, history))
    settings = config.data_split_config.model_dump()
    parents, mode = [source], config.dedup_config.contradictions
    if mode != "keep":
        parents, settings["contradictions"] = [records, source], mode
    of_all = of_all_records(config)
    if not history.counts["runs"]:

        def make(out: Path, progress: Progress) -> dict[str, Any]:
            with telling_refusals(extracted.counts, validated.counts):
                counts = split(source, out, config.data_split_config, progress)
                return screened(counts, out, records, config.dedup_config, of_all)

        return await find_or_make(config, "split", key_of(parents, settings), make)

    near = config.dedup_config.similarity_threshold

    def make_with_history(out: Path, progress: Progress) -> dict[str, Any]:
        fixed = fixed_text_of(records, config.dedup_config)
        standing = standing_of(memory, records, source, config.history_config, near, fixed)
        with telling_refusals(extracted.counts, validated.counts):
            counts = split_with_history(
                source, out, config.data_split_config, standing, records, progress, of_all
            )
            return screened(counts, out, records, config.dedup_config, of_all)

    settings |= {"history": config.history_config.model_dump(), "near": near}
    settings |= {"leave_out_fixed_text": config.dedup_config.leave_out_fixed_text}
    return await find_or_make(config, "split", key_of([records, source, memory], settings), make_with_history)
