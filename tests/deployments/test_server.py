"""What the bootstrap and the deployments make of an empty Prefect server, and what its run form refuses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from deployments.bootstrap import block_types, bootstrap
from flywheel.config import FlywheelConfig, WindowConfig
from flywheel.errors import ConfigError
from flywheel.findings.analysis import Analysis, Bounds, Costs, Difference, Regression, Verdict
from flywheel.results import CandidateResult, RunResult
from tests.deployments.conftest import Receiver

pytestmark = [pytest.mark.slow, pytest.mark.long]
SECRET = "sk-planted-7f3a"
DEPLOYED = {"support-router", "order-faq", "any-workload", "sweep", "ingest", "cleanup"}


@pytest.fixture
def http(deployed: str) -> Iterator[httpx.Client]:
    # A connection for each request: a kept one may be closed by the server just as it is used again.
    once = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(
        base_url=deployed, timeout=120, transport=httpx.HTTPTransport(retries=3, limits=once)
    ) as client:
        yield client


def post(http: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
    # SQLite answers 503 while it is locked; whoever speaks to the server directly tries again.
    for _ in range(60):
        answer = http.post(path, json=body)
        if answer.status_code != 503:
            return answer
        time.sleep(0.5)
    return answer


def deployment(http: httpx.Client, name: str) -> dict[str, Any]:
    found = {entry["name"]: entry for entry in post(http, "/deployments/filter", {}).json()}
    entry: dict[str, Any] = found[name]
    return entry


def test_every_deployment_is_there_with_its_schedule_switched_off(http: httpx.Client) -> None:
    found = {entry["name"]: entry for entry in post(http, "/deployments/filter", {}).json()}
    assert set(found) >= DEPLOYED
    for name in ("support-router", "order-faq", "sweep", "ingest", "cleanup"):
        [schedule] = found[name]["schedules"]
        assert schedule["active"] is False
        assert schedule["slug"]
        assert found[name]["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"


@pytest.mark.parametrize("name", sorted(DEPLOYED))
def test_every_parameter_of_the_form_has_a_name_a_description_and_a_default(
    http: httpx.Client, name: str
) -> None:
    entry = deployment(http, name)
    schema = entry["parameter_openapi_schema"]
    for title, parameter in schema["properties"].items():
        assert parameter["title"], title
        assert parameter.get("description"), title
        assert "default" in parameter or title in entry["parameters"], title
    for title, model in schema.get("definitions", {}).items():
        for field, content in model.get("properties", {}).items():
            described = content.get("description") or schema["definitions"].get(
                (content.get("$ref") or "").rpartition("/")[2], {}
            ).get("description")
            assert described, f"{title}.{field}"


def test_choices_show_as_choices(http: httpx.Client) -> None:
    definitions = deployment(http, "any-workload")["parameter_openapi_schema"]["definitions"]
    stages = definitions["PartConfig"]["properties"]["stages"]["items"]["enum"]
    assert stages == ["base-eval", "icl-eval", "fine-tune", "customized-eval", "judge"]
    window = definitions["WindowConfig"]["properties"]
    assert "Europe/Berlin" in window["timezone"]["enum"]
    assert window["on_close"]["enum"] == ["finish", "stop"]


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"data_split_config": {"eval_size": -1}}, "config.data_split_config.eval_size"),
        ({"gpu_slots": "many"}, "config.gpu_slots"),
        ({"window_config": {"hours": "9-5"}}, "config.window_config.hours"),
        ({"window_config": {"timezone": "Mars/Base"}}, "config.window_config.timezone"),
        ({"budget_config": {"gpu_hours_per_run": -2}}, "config.budget_config.gpu_hours_per_run"),
        ({"candidates": [{"name": "no model"}]}, "config.candidates"),
        ({"no_such_setting": 1}, "no_such_setting"),
        ({"data_split_config": {"no_such_setting": 1}}, "no_such_setting"),
    ],
)
def test_a_wrong_value_is_refused_before_the_run_starts(
    http: httpx.Client, wrong: dict[str, Any], where: str
) -> None:
    entry = deployment(http, "any-workload")
    answer = post(
        http,
        f"/deployments/{entry['id']}/create_flow_run",
        {"parameters": {"config": entry["parameters"]["config"] | wrong}},
    )
    assert answer.status_code == 409
    assert where in answer.json()["detail"]


@pytest.mark.parametrize(
    ("name", "parameters", "where"),
    [
        ("any-workload", {"part": {"stages": ["retrain"]}}, "part.stages"),
        ("any-workload", {"no_such_parameter": 1}, "no_such_parameter"),
        ("sweep", {"dry-run": True}, "dry-run"),
        ("ingest", {"file": "log"}, "file"),
        ("cleanup", {"older_than": 1}, "older_than"),
    ],
)
def test_a_wrong_stage_or_a_parameter_that_does_not_exist_is_refused_before_the_run_starts(
    http: httpx.Client, name: str, parameters: dict[str, Any], where: str
) -> None:
    entry = deployment(http, name)
    answer = post(http, f"/deployments/{entry['id']}/create_flow_run", {"parameters": parameters})
    assert answer.status_code == 409
    assert where in answer.json()["detail"]


def test_the_bootstrap_may_be_repeated_and_keeps_what_people_changed(
    api: str, deployed: str, http: httpx.Client, receiver: Receiver
) -> None:
    from prefect.blocks.core import Block

    environment = {
        "FLYWHEEL_GPU_SLOTS": "8",
        "OPENAI_API_KEY": SECRET,
        "MONGODB_URL": f"mongodb://reader:{SECRET}@db.internal/flywheel",
        "FLYWHEEL_NOTIFY_WEBHOOK": receiver.url,
    }
    first = asyncio.run(bootstrap(environment))
    automations = {entry["name"]: entry["id"] for entry in post(http, "/automations/filter", {}).json()}
    second = asyncio.run(bootstrap(environment))
    again = {entry["name"]: entry["id"] for entry in post(http, "/automations/filter", {}).json()}

    assert automations == again
    assert set(again) == {
        "flywheel: crash zombies",
        "flywheel: clean up",
        "flywheel: tell of finished",
        "flywheel: tell of failed",
        "flywheel: tell of candidate surfaced",
        "flywheel: tell of regression",
    }
    assert "limit gpu: kept at 3 slots" in second  # somebody chose it; the environment's 8 is for a new one
    assert "work pool local: kept, of type process" in second
    assert "variable flywheel_excluded_workloads: kept" in second
    assert not [line for line in first + second if SECRET in line]
    types = {entry["slug"] for entry in post(http, "/block_types/filter", {"limit": 200}).json()}
    assert {kind.get_block_type_slug() for kind in block_types()} <= types
    saved: Any = Block.load("flywheel-openai-compatible/main")
    assert saved.api_key.get_secret_value() == SECRET
    documents = post(http, "/block_documents/filter", {"limit": 200}).text
    assert SECRET not in documents


def test_a_block_that_the_environment_describes_wrongly_stops_the_bootstrap_before_it_changes_anything(
    api: str,
) -> None:
    with pytest.raises(ConfigError, match="NIM_BASE_URL"):
        asyncio.run(bootstrap({"NEMO_BASE_URL": "http://nemo"}))
    with pytest.raises(ConfigError, match="FLYWHEEL_GPU_SLOTS"):
        asyncio.run(bootstrap({"FLYWHEEL_GPU_SLOTS": "lots"}))


def test_people_are_told_of_an_end_of_a_candidate_and_of_a_regression(
    api: str, deployed: str, receiver: Receiver
) -> None:
    """Through the server's own automations, to a webhook, with text that no message can break."""
    from prefect.events.worker import EventsWorker

    from tasks.events import tell_of

    asyncio.run(bootstrap({"FLYWHEEL_NOTIFY_WEBHOOK": receiver.url}))
    receiver.bodies.clear()
    tell_of(run_with_news())
    EventsWorker.drain_all(timeout=60, at_exit=False)
    texts = asyncio.run(received(receiver, 3))

    assert len(texts) == 3
    finished, regressed, surfaced = sorted(texts, key=lambda text: ("fell from" in text, "surfaced" in text))[
        :3
    ]
    joined = "\n".join(sorted(texts))
    assert 'Flywheel router: completed. It said "yes"\nand more' in joined
    assert "Flywheel router: small (customized-eval) surfaced. Within the margin." in joined
    assert "fell from 0.9 to 0.7 in function_name since run old" in joined
    assert finished
    assert regressed
    assert surfaced


async def received(receiver: Receiver, count: int) -> list[str]:
    for _ in range(1200):
        if len(receiver.bodies) >= count:
            break
        await asyncio.sleep(0.1)
    return [json.loads(body)["text"] for body in receiver.bodies]


def run_with_news() -> RunResult:
    regression = Regression(
        "small", "base-eval", "function_name", "last", "old", 0.9, 0.7, "regressed", Difference(-0.2, 30)
    )
    verdicts = [
        Verdict(
            "small",
            "customized-eval",
            "function_name",
            "surfaced",
            0.05,
            Difference(0.0, 30),
            "Within the margin.",
        ),
        Verdict("small", "base-eval", "function_name", "not_surfaced", 0.05, Difference(-0.3, 30), "Worse."),
    ]
    costs = [Costs("small", "customized-eval", monthly_savings=Bounds(10, 20))]
    return RunResult(
        run_id="new",
        workload_id="router",
        client_id="web",
        status="completed",
        started_at="2026-06-01T00:00:00+00:00",
        message='It said "yes"\nand more',
        candidates=[CandidateResult("small", "m", "completed")],
        analysis=Analysis(verdicts=verdicts, costs=costs, regressions=[regression]),
    )


def test_the_rest_of_a_run_waits_on_the_server_for_the_next_window(
    api: str, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it survives whatever happens to the process that ran into the end of the window."""
    from tasks.candidates.allowance import continue_when_open

    entry = deployment(http, "any-workload")
    parameters = {"config": entry["parameters"]["config"], "overrides": {"gpu_slots": 2}}
    this = post(http, f"/deployments/{entry['id']}/create_flow_run", {"parameters": parameters}).json()
    # Prefect's own way of telling code which run it is in.
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", entry["id"])
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", this["id"])
    now = datetime.now(UTC)
    hours = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    config = FlywheelConfig(workload_id="w", client_id="c", window_config=WindowConfig(hours=hours))

    said = asyncio.run(continue_when_open("run-a", config))
    asyncio.run(continue_when_open("run-a", config))  # asked twice, it is one

    found = post(http, "/flow_runs/filter", {"flow_runs": {"tags": {"all_": ["resumed"]}}}).json()
    assert [flow_run["parameters"] for flow_run in found] == [parameters | {"run_id": "run-a"}]
    begins = datetime.fromisoformat(found[0]["expected_start_time"])
    assert f"The rest is scheduled for {begins:%Y-%m-%d %H:%M} UTC." == said
    assert timedelta(minutes=118) < begins - now <= timedelta(hours=2)
