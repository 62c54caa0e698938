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
from tests.prefect_homes import server_of_its_own


@pytest.fixture(scope="package")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server_of_its_own(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture
def config(sample_log: Path, tmp_path: Path, gpu_platform: GpuPlatformServer) -> FlywheelConfig:
    """Two candidates on the fake platform, stores in a temporary home."""
    return two_candidates(sample_log, tmp_path)


def two_candidates(sample_log: Path, folder: Path) -> FlywheelConfig:
    """The settings of a run of `alpha` and `beta` on the platform saved as `fake-gpu-platform/main`."""
    return FlywheelConfig(
        workload_id="support-router",
        client_id="acme-web",
        logs=LogsConfig(path=str(sample_log)),
        data_split_config=DataSplitConfig(eval_size=30),
        connections=ConnectionsConfig(home=str(folder / "home"), platform="fake-gpu-platform/main"),
        gpu_slots=2,
        candidates=[
            CandidateConfig(name="alpha", model="small-a"),
            CandidateConfig(name="beta", model="small-b"),
        ],
    )
