"""The files of deployments are read strictly here, because Prefect passes over keys that it does not know."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect import Flow
from prefect.client.schemas.objects import ConcurrencyLimitStrategy

from flywheel.config import FlywheelConfig
from flywheel.config.sweep import SweepConfig

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ("prefect.yaml", "deployments/prefect-pools.yaml")
REQUIRED = {"name", "description", "entrypoint", "tags", "parameters", "schedules", "work_pool"}
OPTIONAL = {"concurrency_limit", "pull"}
SCHEDULE = {"slug", "cron", "timezone", "active"}


def contents(file: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    return document


DEPLOYMENTS = [
    pytest.param(deployment, id=f"{file}:{deployment['name']}")
    for file in FILES
    for deployment in contents(file)["deployments"]
]


@pytest.mark.parametrize("file", FILES)
def test_a_file_has_only_keys_that_prefect_knows_and_names_that_differ(file: str) -> None:
    document = contents(file)
    assert set(document) <= {"name", "definitions", "deployments"}
    names = [(d["entrypoint"], d["name"]) for d in document["deployments"]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_deployment_has_only_keys_that_prefect_knows(deployment: dict[str, Any]) -> None:
    assert REQUIRED <= set(deployment) <= REQUIRED | OPTIONAL
    assert deployment["description"].endswith(".")
    assert "flywheel" in deployment["tags"]
    assert set(deployment["work_pool"]) <= {"name", "job_variables", "work_queue_name"}
    assert set(deployment["work_pool"].get("job_variables", {})) <= {"stream_output", "env"}
    for step in deployment.get("pull", []):
        assert set(step) == {"prefect.deployments.steps.set_working_directory"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_schedule_has_a_slug_a_time_zone_and_is_off_until_someone_wants_it(
    deployment: dict[str, Any],
) -> None:
    """Without a slug every deploy would add the schedule once more."""
    for schedule in deployment["schedules"]:
        assert set(schedule) == SCHEDULE
        assert ZoneInfo(schedule["timezone"])
        assert schedule["active"] is False
        assert len(schedule["cron"].split()) == 5


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_what_a_schedule_starts_cannot_pile_up(deployment: dict[str, Any]) -> None:
    limit = deployment.get("concurrency_limit")
    if not deployment["schedules"]:
        return
    assert set(limit) == {"limit", "collision_strategy", "grace_period_seconds"}
    assert limit["limit"] == 1
    assert ConcurrencyLimitStrategy(limit["collision_strategy"]) == ConcurrencyLimitStrategy.CANCEL_NEW
    assert 60 <= limit["grace_period_seconds"] <= 86_400


@pytest.mark.slow
@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_deployment_starts_a_flow_that_exists_with_settings_that_it_takes(
    deployment: dict[str, Any],
) -> None:
    path, _, name = deployment["entrypoint"].partition(":")
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert set(deployment["parameters"]) <= set(flow.parameters.properties)
    if "config" in deployment["parameters"]:
        FlywheelConfig.model_validate(deployment["parameters"]["config"])
    if "settings" in deployment["parameters"]:
        SweepConfig.model_validate(deployment["parameters"]["settings"])


def test_heartbeats_are_as_frequent_as_the_automation_against_zombies_needs() -> None:
    from deployments.automations import SECONDS_WITHOUT_HEARTBEAT

    for deployment in contents("prefect.yaml")["deployments"]:
        variables = deployment["work_pool"]["job_variables"]
        assert variables["stream_output"] is False
        assert 3 * int(variables["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) <= SECONDS_WITHOUT_HEARTBEAT


@pytest.mark.parametrize(("flow", "ours"), [("flywheel", True), ("candidate", True), ("nightly-etl", False)])
def test_silence_crashes_flow_runs_of_ours_and_of_nobody_else_on_the_server(flow: str, ours: bool) -> None:
    from prefect.server.events.schemas.automations import EventTrigger
    from prefect.server.events.schemas.events import ReceivedEvent

    from deployments.automations import crash_zombies

    heartbeat = ReceivedEvent.model_validate(
        {
            "id": "00000000-0000-0000-0000-000000000001",
            "event": "prefect.flow-run.heartbeat",
            "occurred": "2026-01-01T00:00:00Z",
            "resource": {"prefect.resource.id": "prefect.flow-run.a"},
            "related": [
                {
                    "prefect.resource.id": "prefect.flow.b",
                    "prefect.resource.role": "flow",
                    "prefect.resource.name": flow,
                },
                {"prefect.resource.id": "prefect.tag.flywheel", "prefect.resource.role": "tag"},
            ],
        }
    )
    trigger = EventTrigger.model_validate(crash_zombies().trigger.model_dump(mode="json"))
    assert trigger.covers(heartbeat) is ours


def test_no_flow_of_ours_is_forgotten_by_the_automation_against_zombies() -> None:
    from deployments.automations import WITH_PARTS

    named = {
        flow.name
        for path in (ROOT / "flows").glob("*.py")
        for flow in vars(importlib.import_module(f"flows.{path.stem}")).values()
        if isinstance(flow, Flow)
    }
    assert named == set(WITH_PARTS[0].root["prefect.resource.name"])
