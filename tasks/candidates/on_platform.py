"""What a platform does for one candidate. Every call is get-or-create by name, so each may be repeated."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.connections import open_dataset_store, open_platform
from blocks.ports import Endpoint, FineTuneRequest
from flywheel.candidates import deployment_name, fine_tune_name
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.errors import RemoteJobCancelled, RemoteJobFailed
from flywheel.results import Customization
from tasks.candidates.training_bounds import warn_of_short_bound
from tasks.curating.curation import Reference
from tasks.curating.dataset_keys import content_of
from tasks.evaluating.parity import report_parity
from tasks.ledger import record, strike
from tasks.progress import reporting
from tasks.retry_conditions import is_transient
from tasks.retry_delays import PLATFORM_SECONDS


@task(
    task_run_name="deploy {candidate.name}",
    cache_policy=NO_CACHE,
    retries=len(PLATFORM_SECONDS),
    retry_delay_seconds=PLATFORM_SECONDS,
    retry_condition_fn=is_transient,
)
async def deploy(run_id: str, candidate: CandidateConfig, config: FlywheelConfig) -> Endpoint:
    """Bring the candidate's model up, in the ledger first, and return when it has answered."""
    name = deployment_name(run_id, candidate)
    platform = await open_platform(config.connections)
    await record(config, run_id, "deployment", name)
    async with reporting(f"deploy-{candidate.name}", known_as={name: candidate.name}) as progress:
        return await platform.deploy(name, candidate, progress)


@task(
    task_run_name="shut down {candidate.name}",
    cache_policy=NO_CACHE,
    retries=len(PLATFORM_SECONDS),
    retry_delay_seconds=PLATFORM_SECONDS,
    retry_condition_fn=is_transient,
)
async def shut_down(run_id: str, candidate: CandidateConfig, config: FlywheelConfig) -> None:
    """Free the candidate's deployment, see it gone, and strike it off the ledger."""
    name = deployment_name(run_id, candidate)
    platform = await open_platform(config.connections)
    await platform.shut_down(name)
    await strike(config, "deployment", name)


@task(
    task_run_name="fine-tune {candidate.name}",
    cache_policy=NO_CACHE,
    retries=len(PLATFORM_SECONDS),
    retry_delay_seconds=PLATFORM_SECONDS,
    retry_condition_fn=is_transient,
)
async def fine_tune(
    run_id: str, candidate: CandidateConfig, datasets: Reference, config: FlywheelConfig
) -> Customization:
    """Train one adapter, or adopt the training that an interrupted run left behind."""
    store = await open_dataset_store(config.connections)
    platform = await open_platform(config.connections)
    folder = store.open(datasets.ref)
    name = fine_tune_name(run_id, config, candidate, content_of(folder, below="train/"))
    request = FineTuneRequest(
        name=name,
        model=candidate.model,
        train=folder / "train",
        training=config.training_for(candidate),
        lora=config.lora_for(candidate),
        customizer=candidate.customizer_config,
        metrics=config.metrics_config,
    )
    await warn_of_short_bound(config, candidate, datasets.counts.get("rows", {}).get("train", 0))
    await report_parity(platform, candidate.model, request.train, candidate.name, config)
    await record(config, run_id, "fine-tune", name)
    async with reporting(f"fine-tune-{candidate.name}", known_as={name: candidate.name}) as progress:
        try:
            customization = await platform.fine_tune(request, progress)
        except (RemoteJobFailed, RemoteJobCancelled):
            await strike(config, "fine-tune", name)  # it is over, there too
            raise
    await strike(config, "fine-tune", name)
    return customization


@task(
    task_run_name="serve adapter {candidate.name}",
    cache_policy=NO_CACHE,
    retries=len(PLATFORM_SECONDS),
    retry_delay_seconds=PLATFORM_SECONDS,
    retry_condition_fn=is_transient,
)
async def serve_customization(
    run_id: str, candidate: CandidateConfig, customization: Customization, config: FlywheelConfig
) -> Endpoint:
    """Make the fine-tuned model answer beside its base."""
    platform = await open_platform(config.connections)
    return await platform.serve_customization(deployment_name(run_id, candidate), customization)
