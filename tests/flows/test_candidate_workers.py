"""Candidates on workers of their own: the same flow, the same result, from other processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.settings import get_current_settings
from prefect.utilities.callables import parameter_schema
from pydantic import SecretStr

from blocks.connections import open_run_store
from blocks.openai_platform.block import OpenAICompatible
from flows.run_candidate import run_candidate
from flows.run_flywheel import run_flywheel
from flywheel.config import CandidateConfig, ConnectionsConfig, DataSplitConfig, FlywheelConfig, LogsConfig
from flywheel.results import RunResult
from tasks.candidates.deployment import tag_of
from tests.fakes.openai_provider import OpenAIProvider

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:prefect"),
]


@pytest.fixture
def provider(oracle: dict[str, dict[str, Any]], prefect_api: None) -> Iterator[OpenAIProvider]:
    with OpenAIProvider(oracle, key="sk-worker") as server:
        block = OpenAICompatible(base_url=server.url, api_key=SecretStr("sk-worker"), poll_seconds=0.05)
        block.save("worker", overwrite=True)
        yield server


@pytest.fixture
def config(sample_log: Path, tmp_path: Path, provider: OpenAIProvider) -> FlywheelConfig:
    return FlywheelConfig(
        workload_id="support-router",
        client_id="acme-web",
        logs=LogsConfig(path=str(sample_log)),
        data_split_config=DataSplitConfig(eval_size=20, limit=200),
        connections=ConnectionsConfig(
            home=str(tmp_path / "home"),
            platform="flywheel-openai-compatible/worker",
            candidate_deployment="candidate/gpu",
        ),
        gpu_slots=2,
        candidates=[
            CandidateConfig(name=name, model="small-a", context_length=32_768, icl=False, customize=False)
            for name in ("alpha", "beta")
        ],
    )


@asynccontextmanager
async def workers(tmp_path: Path) -> AsyncIterator[None]:
    """A worker as an operator starts it, and the deployment `candidate/gpu` for it."""
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name="gpu", type="process"), overwrite=True)
        flow_id = await client.create_flow(run_candidate)
        await client.create_deployment(
            flow_id,
            "gpu",
            work_pool_name="gpu",
            path=str(ROOT),
            entrypoint="flows/run_candidate.py:run_candidate",
            parameter_openapi_schema=parameter_schema(run_candidate).model_dump_for_openapi(),
        )
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "gpu", "--type", "process"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **settings, "PREFECT_WORKER_QUERY_SECONDS": "1"},
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            # Prefect's worker looks after its pool once more, and now and then does not end; that is not tried here.
            worker.terminate()
            try:
                await asyncio.wait_for(worker.wait(), 20)
            except TimeoutError:
                worker.kill()
                await worker.wait()


async def run(config: FlywheelConfig, run_id: str) -> RunResult:
    await run_flywheel(config, run_id=run_id, return_state=True)
    store = await open_run_store(config.connections)
    try:
        return store.load_run(run_id)
    finally:
        store.close()


async def test_candidates_run_on_workers_and_give_the_result_that_they_give_in_process(
    config: FlywheelConfig, tmp_path: Path
) -> None:
    async with workers(tmp_path):
        fanned_out = await run(config, "fanned-out")
    here = config.connections.model_copy(update={"candidate_deployment": "", "home": str(tmp_path / "other")})
    in_process = await run(config.model_copy(update={"connections": here}), "in-process")
    assert fanned_out.status == in_process.status == "completed"

    def scores(result: RunResult) -> dict[str, Any]:
        return {c.candidate: [e.scores for e in c.evaluations] for c in result.candidates}

    assert scores(fanned_out) == scores(in_process)
    assert fanned_out.eval_set == in_process.eval_set
    async with get_client() as client:
        for candidate in config.candidates:
            tags = FlowRunFilterTags(all_=[tag_of("fanned-out", candidate)])
            (found,) = await client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tags))
            assert found.deployment_id is not None
            assert len(found.model_dump_json()) < 50_000  # names and settings went over the wire, no rows


async def test_a_deployment_that_is_not_there_fails_its_candidates_with_the_name_to_correct(
    config: FlywheelConfig,
) -> None:
    nowhere = config.connections.model_copy(update={"candidate_deployment": "candidate/no-such"})
    result = await run(config.model_copy(update={"connections": nowhere}), "nowhere")
    assert result.status == "failed"
    assert "candidate/no-such" in str(result.candidates[0].error)
    assert "prefect deployment ls" in str(result.candidates[0].error)
