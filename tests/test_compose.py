"""The compose file, as far as it can be checked without Docker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

FILE = Path(__file__).resolve().parent.parent / "deployments" / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_it_has_the_servers_that_production_stands_on() -> None:
    assert set(SERVICES) == {"elasticsearch", "kibana", "mongodb", "prefect"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_checked_and_reachable_from_this_machine_alone(name: str) -> None:
    """None of them asks for a password, so none may listen to the network."""
    service = SERVICES[name]
    assert ":" in service["image"]
    assert "latest" not in service["image"]
    check = service["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} < set(check)
    assert service["ports"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_named_volumes_and_dependencies_exist() -> None:
    used = {mount.partition(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
