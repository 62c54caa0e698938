"""What the page on operations says, held against the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore

from deployments.automations import notifications
from deployments.bootstrap import VARIABLES, block_types
from deployments.environment_blocks import described
from flywheel.cli.main import build_parser
from flywheel.cli.prefect_server import SERVER_SETTINGS
from flywheel.config import FlywheelConfig
from flywheel.overrides import load_config

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
YAML: list[dict[str, Any]] = [
    yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
]


def test_the_table_of_deployments_is_that_of_prefect_yaml() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    flows = {"run_flywheel": "flywheel", "sweep": "sweep", "ingest": "ingest", "cleanup": "cleanup"}
    names = {f"{flows[d['entrypoint'].rpartition(':')[2]]}/{d['name']}" for d in deployments}
    section = PAGE[PAGE.index("## The deployments") :]
    assert set(re.findall(r"^\| `(\w+/[\w-]+)` \|", section, re.MULTILINE)) == names


@pytest.mark.parametrize("settings", [s for s in YAML if "trigger" not in s], ids=lambda s: str(*s))
def test_an_example_of_settings_is_taken(settings: dict[str, Any]) -> None:
    config = load_config(last={"workload_id": "w", "client_id": "c"} | settings)
    assert isinstance(config, FlywheelConfig)


def test_the_example_of_an_automation_is_one_that_prefect_takes() -> None:
    [document] = [block for block in YAML if "trigger" in block]
    assert set(document) <= set(AutomationCore.model_fields)
    assert AutomationCore.model_validate(document).actions


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`(flywheel run [^`]*)`", PAGE))))
def test_a_command_line_is_one_that_the_command_takes(line: str) -> None:
    words = line.replace(" ...", "").split()[1:]
    assert build_parser().parse_args(words).command == "run"


def test_the_settings_of_a_server_are_those_that_are_shipped() -> None:
    told = dict(re.findall(r"^(PREFECT_SERVER_\w+)=(\S+)", PAGE, re.MULTILINE))
    compose = yaml.safe_load((ROOT / "deployments" / "compose.yaml").read_text(encoding="utf-8"))
    composed = compose["services"]["prefect"]["environment"]
    assert len(told) >= 5
    assert told.items() <= SERVER_SETTINGS.items()
    assert told.items() <= composed.items()


def test_blocks_variables_and_messages_are_named_as_they_are() -> None:
    from uuid import uuid4

    slugs = {kind.get_block_type_slug() for kind in block_types()}
    assert set(re.findall(r"`(flywheel-[\w-]+)/main`", PAGE)) <= slugs
    assert all(name in PAGE for name in VARIABLES)
    told = [automation.name for automation in notifications(uuid4())]
    assert all(f"`{name}`" in PAGE for name in told)


def test_each_row_of_variables_describes_the_block_beside_it() -> None:
    """As far as one address will do; NeMo has three."""
    rows = re.findall(r"^\| `([A-Z_]+_URL)`.* \| `([\w-]+)/[\w-]+` \|$", PAGE, re.MULTILINE)
    assert {variable for variable, _ in rows} >= {"ELASTICSEARCH_URL", "MONGODB_URL", "VLLM_BASE_URL"}
    addresses = {variable: f"http://{slug}.example" for variable, slug in rows}
    addresses["MONGODB_URL"] = "mongodb://db.example"
    three = {"NIM_BASE_URL": "http://nim.example", "DATASTORE_BASE_URL": "http://data.example"}
    for variable, slug in rows:
        environment = {variable: addresses[variable]} | (three if variable == "NEMO_BASE_URL" else {})
        [(_, block)] = described(environment)
        assert block.get_block_type_slug() == slug
