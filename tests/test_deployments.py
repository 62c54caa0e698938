"""`prefect.yaml` is read strictly here, because Prefect passes over keys that it does not know."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from flywheel.config import FlywheelConfig

ROOT = Path(__file__).resolve().parent.parent
KNOWN = {
    "name",
    "description",
    "entrypoint",
    "tags",
    "parameters",
    "schedules",
    "concurrency_limit",
    "work_pool",
}
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))[
    "deployments"
]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: str(deployment["name"]))
def test_a_deployment_has_only_keys_that_prefect_knows_and_a_schedule_has_a_slug(
    deployment: dict[str, Any],
) -> None:
    assert set(deployment) <= KNOWN
    for schedule in deployment["schedules"]:
        assert set(schedule) == {"slug", "cron", "timezone", "active"}


@pytest.mark.slow
@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: str(deployment["name"]))
def test_a_deployment_starts_a_flow_that_exists_with_settings_that_it_takes(
    deployment: dict[str, Any],
) -> None:
    path, _, name = deployment["entrypoint"].partition(":")
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    assert set(deployment["parameters"]) <= set(flow.parameters.properties)
    if "config" in deployment["parameters"]:
        FlywheelConfig.model_validate(deployment["parameters"]["config"])
