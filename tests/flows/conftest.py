"""A real Prefect server, a GPU platform that answers at once, and the sample log: what every DAG test stands on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flywheel.config import (
    CandidateConfig,
    ConnectionsConfig,
    DataSplitConfig,
    FlywheelConfig,
    LogsConfig,
)
from flywheel.sample import write_sample_log
from tests.fakes.gpu_platform import GpuPlatformBlock, GpuPlatformServer
from tests.reading import logged_records


@pytest.fixture(scope="package")
def sample_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "log"
    write_sample_log(path)
    return path


@pytest.fixture(scope="package")
def oracle(sample_log: Path) -> dict[str, dict[str, object]]:
    """The production answers of the log by the text of the last user message."""
    answers = {}
    for record in logged_records(sample_log):
        try:
            question = [m for m in record["request"]["messages"] if m["role"] == "user"][-1]["content"]
            message = json.loads(json.dumps(record["response"]["choices"][0]["message"]))
            for call in message.get("tool_calls") or []:
                arguments = call["function"]["arguments"]
                if not isinstance(arguments, str):
                    call["function"]["arguments"] = json.dumps(arguments)
        except (AttributeError, KeyError, IndexError, TypeError):  # the sample holds every kind of bad record
            continue
        if isinstance(question, list):
            question = "".join(part.get("text", "") for part in question)
        answers[str(question)] = message
    return answers


@pytest.fixture(scope="package")
def prefect_api() -> Iterator[None]:
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        prefect_test_harness(server_startup_timeout=90),
    ):
        yield


@pytest.fixture(scope="package")
def platform_server(oracle: dict[str, dict[str, object]]) -> Iterator[GpuPlatformServer]:
    with GpuPlatformServer(oracle) as server:
        yield server


@pytest.fixture
def gpu_platform(prefect_api: None, platform_server: GpuPlatformServer) -> GpuPlatformServer:
    """The platform in the state of a fresh server, saved as the block `fake-gpu-platform/main`."""
    platform_server.forget()
    GpuPlatformBlock(url=platform_server.url).save("main", overwrite=True)
    return platform_server


@pytest.fixture
def config(sample_log: Path, tmp_path: Path, gpu_platform: GpuPlatformServer) -> FlywheelConfig:
    """Two candidates on the fake platform, stores in a temporary home."""
    return FlywheelConfig(
        workload_id="support-router",
        client_id="acme-web",
        logs=LogsConfig(path=str(sample_log)),
        data_split_config=DataSplitConfig(eval_size=30),
        connections=ConnectionsConfig(home=str(tmp_path / "home"), platform="fake-gpu-platform/main"),
        gpu_slots=2,
        candidates=[
            CandidateConfig(name="alpha", model="small-a"),
            CandidateConfig(name="beta", model="small-b"),
        ],
    )
