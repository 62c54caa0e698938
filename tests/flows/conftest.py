"""A real Prefect server and the settings of a run on a platform that answers at once: what every DAG test stands on."""

from __future__ import annotations

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
from tests.fakes.gpu_platform import GpuPlatformServer


@pytest.fixture(scope="package")
def prefect_api() -> Iterator[None]:
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        prefect_test_harness(server_startup_timeout=90),
    ):
        yield


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
