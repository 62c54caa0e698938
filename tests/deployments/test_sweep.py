"""The sweep against a real server, with a stand-in for the workers that ends runs after it has looked at them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flywheel.config import ConnectionsConfig, FlywheelConfig, LogsConfig
from flywheel.config.sweep import SweepConfig
from flywheel.errors import ConfigError

pytestmark = [pytest.mark.slow, pytest.mark.long]

FLOW_RUNS_LOOKED_AT = 100


class Workers:
    """Takes every scheduled run of the flywheel, keeps it running for a moment, and ends it."""

    def __init__(self) -> None:
        self.workloads: list[str] = []
        self.most_at_once = 0

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Workers]:
        work = asyncio.create_task(self._work())
        try:
            yield self
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def _work(self) -> None:
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
        from prefect.client.schemas.objects import StateType
        from prefect.states import Completed

        scheduled = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        )
        async with get_client() as client:
            while True:
                found = [
                    r for r in await client.read_flow_runs(flow_run_filter=scheduled) if "sweep" in r.tags
                ]
                found.sort(key=lambda flow_run: str(flow_run.created))
                self.most_at_once = max(self.most_at_once, len(found))
                await asyncio.sleep(0.5)
                for flow_run in found:
                    self.workloads.append(flow_run.parameters["config"]["workload_id"])
                    await client.set_flow_run_state(flow_run.id, Completed(), force=True)


@pytest.fixture
async def template(api: str, deployed: str, sample_log: Path, tmp_path: Path) -> str:
    """A deployment of the flywheel over the sample log."""
    from prefect.client.orchestration import get_client

    config = FlywheelConfig(
        workload_id="any",
        client_id="any",
        logs=LogsConfig(path=str(sample_log)),
        connections=ConnectionsConfig(home=str(tmp_path / "home")),
    ).model_dump(mode="json", include={"logs", "connections"})
    async with get_client() as client:
        model = await client.read_deployment_by_name("flywheel/any-workload")
        await client.create_deployment(
            flow_id=model.flow_id,
            name="swept",
            parameters={"config": {**config, "workload_id": "any", "client_id": "any"}},
            parameter_openapi_schema=model.parameter_openapi_schema,
            entrypoint=model.entrypoint,
            path=model.path,
        )
    return "flywheel/swept"


async def test_a_sweep_runs_the_workloads_in_order_so_many_at_once_and_reports_the_rest(
    template: str,
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
    from prefect.states import Running
    from prefect.variables import Variable

    from flows.sweep import sweep
    from tasks.sweep import states_of

    await Variable.aset("flywheel_excluded_workloads", ["returns-agent"], overwrite=True)
    async with get_client() as client:  # by the form, which may name the workload among single settings
        by_form = await client.create_flow_run_from_deployment(
            (await client.read_deployment_by_name(template)).id,
            parameters={"overrides": {"workload_id": "support-router", "client_id": "acme-app"}},
            state=Running(),
        )
    settings = SweepConfig(min_fresh_records=50, at_once=1, poll_seconds=0.2, wait_hours=0.15)
    dry = await sweep(template, settings, dry_run=True)
    assert dry.runs == {}

    async with Workers().at_work() as workers:
        done = await sweep(template, settings)

    assert workers.most_at_once == 1
    assert len(workers.workloads) == len(done.runs) >= 2
    assert set(done.runs.values()) == {"Completed"}
    assert [name.partition(" of ")[0] for name in done.runs] == workers.workloads
    assert any("flywheel_excluded_workloads" in why for why in done.skipped.values())
    assert any("name no workload" in why for why in done.skipped.values())
    assert done.skipped["support-router of acme-app"] == "A run of it is under way."
    assert done.share_of_traffic_with_workload is not None
    assert 0.5 < done.share_of_traffic_with_workload < 1
    assert done.share_of_workloads_evaluated == 0
    async with get_client() as client:
        await client.delete_flow_run(by_form.id)
        assert await states_of([by_form.id]) == {by_form.id: (True, "deleted")}
        ours = ArtifactFilter(key=ArtifactFilterKey(any_=["sweep"]))
        artifacts = await client.read_artifacts(artifact_filter=ours)
    rows = [json.loads(str(artifact.data)) for artifact in artifacts]
    assert len(rows[0]) == len(done.runs) + len(done.skipped)
    assert "of the traffic names its workload" in str(artifacts[0].description)
    assert "would start" in {row["what"] for row in rows[-1]} | {row["what"] for row in rows[0]}


async def test_a_sweep_without_its_deployment_says_how_to_make_it(api: str) -> None:
    from flows.sweep import sweep

    with pytest.raises(ConfigError, match="prefect deploy --all"):
        await sweep("flywheel/not-there")
