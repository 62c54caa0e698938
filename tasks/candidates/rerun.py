"""What a rerun takes over from the run that it does a part of again."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from blocks.connections import open_run_store
from flywheel.config import ConnectionsConfig, FlywheelConfig
from flywheel.errors import DataError
from flywheel.rerun import EVERYTHING, PartConfig
from flywheel.results import CandidateResult, RunResult
from tasks.curating.curation import CuratedData, Reference
from tasks.runs import change_run


async def run_to_repeat(run_id: str, connections: ConnectionsConfig) -> RunResult | None:
    """The run with that id or beginning of one; None for an empty id. Raises: DataError where there is none."""
    if not run_id:
        return None
    with contextlib.closing(await open_run_store(connections)) as runs:
        return await asyncio.to_thread(runs.load_run, run_id)


async def part_to_do(run_id: str, given: PartConfig, connections: ConnectionsConfig) -> PartConfig:
    """The part that is asked for; a run that is resumed without one goes on with its own."""
    if given != EVERYTHING:
        return given
    with contextlib.closing(await open_run_store(connections)) as runs:
        attempt = await asyncio.to_thread(runs.find_run, run_id)
    return PartConfig.model_validate(attempt.part) if attempt and attempt.part else given


async def keep_part(run_id: str, config: FlywheelConfig, part: PartConfig) -> None:
    """Write down which part a run does, for whoever reads or resumes it."""
    if part != EVERYTHING:
        document = part.model_dump(mode="json")
        await change_run(run_id, config, lambda run: msgspec.structs.replace(run, part=document))


async def earlier_result(run_id: str, config: FlywheelConfig, candidate: str) -> CandidateResult | None:
    """What an earlier run found of the candidate; None where no run is named or it did not have the candidate."""
    earlier = await run_to_repeat(run_id, config.connections)
    if earlier is None:
        return None
    return next((result for result in earlier.candidates if result.candidate == candidate), None)


async def data_of(run_id: str, config: FlywheelConfig, earlier: RunResult) -> CuratedData:
    """The datasets of `earlier`, made those of this run. Raises: DataError where it did not get so far."""
    data = curated_by(earlier)
    await change_run(
        run_id,
        config,
        lambda run: msgspec.structs.replace(
            run,
            funnel=earlier.funnel,
            log_facts=earlier.log_facts,
            datasets=earlier.datasets,
            production_model=earlier.production_model,
            eval_set=earlier.eval_set,
        ),
    )
    return data


def curated_by(run: RunResult) -> CuratedData:
    """The datasets of a run. Raises: DataError where it did not get so far."""
    names = ("validated", "assignment", "datasets")
    missing = [name for name in names if name not in run.datasets]
    if missing:
        raise DataError(
            f"Run {run.run_id} has no datasets to work on ({', '.join(missing)}): it ended before they were made. "
            "Start a new run."
        )
    validated, assignment, datasets = (_reference(run.datasets[name]) for name in names)
    return CuratedData(validated=validated, assignment=assignment, datasets=datasets)


def _reference(uri: str) -> Reference:
    return Reference(name=uri.rpartition("/")[2], uri=uri)
