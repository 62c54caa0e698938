"""Whole runs on a NeMo platform over the wire: the same flow, other connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks.connections import open_run_store
from blocks.nemo.block import NemoMicroservices
from flows.run_flywheel import run_flywheel
from flywheel.config import (
    CandidateConfig,
    ConnectionsConfig,
    DataSplitConfig,
    EvaluationConfig,
    FlywheelConfig,
    LogsConfig,
)
from flywheel.results import RunResult
from tests.contracts.nemo_shapes import require_contract
from tests.fakes.nemo.exchanges import Fault, html_burst
from tests.fakes.nemo_server import NemoServer
from tests.flows.traces import stored_by_prefect
from tests.reading import rows

pytestmark = pytest.mark.slow

KEY = "a-key-that-nobody-sees"


@pytest.fixture(scope="module")
def nemo_server(oracle: dict[str, dict[str, object]]) -> Iterator[NemoServer]:
    with NemoServer(oracle, key=KEY) as server:
        yield server


@pytest.fixture
def nemo(prefect_api: None, nemo_server: NemoServer) -> Iterator[NemoServer]:
    """The platform, saved as the block `flywheel-nemo-microservices/main`; the wire is held against the API."""
    nemo_server.forget()
    for model in ("meta/small", "meta/tiny"):
        nemo_server.customizer.add_target(model)
    NemoMicroservices(
        nemo_base_url=nemo_server.urls["nemo"],
        nim_base_url=nemo_server.urls["nim"],
        datastore_base_url=nemo_server.urls["datastore"],
        api_key=KEY,
        poll_seconds=0.02,
        first_retry_seconds=0.01,
        stall_seconds=120,
    ).save("main", overwrite=True)
    yield nemo_server
    require_contract(nemo_server.exchanges)


@pytest.fixture
def config(sample_log: Path, tmp_path: Path, nemo: NemoServer) -> FlywheelConfig:
    return FlywheelConfig(
        workload_id="support-router",
        client_id="acme-web",
        logs=LogsConfig(path=str(sample_log)),
        data_split_config=DataSplitConfig(eval_size=30),
        connections=ConnectionsConfig(
            home=str(tmp_path / "home"), platform="flywheel-nemo-microservices/main"
        ),
        gpu_slots=2,
        candidates=[
            CandidateConfig(name="small", model="meta/small"),
            CandidateConfig(name="tiny", model="meta/tiny"),
        ],
    )


async def run(config: FlywheelConfig) -> tuple[Any, RunResult]:
    state = await run_flywheel(config, run_id="run-a", return_state=True)
    store = await open_run_store(config.connections)
    try:
        assert store.allocated() == []
        return state, store.load_run("run-a")
    finally:
        store.close()


def scores(result: RunResult, candidate: str) -> dict[str, float | None]:
    found = next(entry for entry in result.candidates if entry.candidate == candidate)
    return {e.eval_type: e.scores[e.primary].value if e.primary else None for e in found.evaluations}


async def test_a_run_on_nemo_ends_with_base_icl_and_customized_results_through_faults(
    config: FlywheelConfig, nemo: NemoServer, tmp_path: Path
) -> None:
    nemo.misbehave.failing_deployments = {"tiny": "ImagePullBackOff"}
    nemo.faults = [
        Fault("POST /v1/customization/jobs$", "lose"),
        Fault("POST /v1/hf/api/datasets/.*/commit", "lose"),
        html_burst("GET /v1/customization/jobs/.*/status", 6),
    ]
    state, result = await run(config)

    assert state.name == "Partial"
    found = scores(result, "small")
    assert found["base-eval"] < found["icl-eval"] < found["customized-eval"]  # type: ignore[operator]
    small, tiny = result.candidates
    assert small.customization is not None
    assert small.customization.queued_seconds is not None
    assert "ImagePullBackOff" in str(tiny.error)
    assert len(nemo.happened("submitted")) == 1
    assert nemo.deployments.look() == {}
    assert nemo.entities.datasets == {}
    assert not [
        path
        for path in (tmp_path / "home").rglob("*")
        if path.is_file() and KEY.encode() in path.read_bytes()
    ]
    assert KEY.encode() not in await stored_by_prefect("ImagePullBackOff")


async def test_a_run_may_leave_the_evaluations_to_nemo_and_has_the_same_shape_of_results(
    config: FlywheelConfig, nemo: NemoServer
) -> None:
    settings = EvaluationConfig(evaluator="nemo", nemo_judge_model="meta/judge")
    candidate = config.candidates[0].model_copy(update={"customize": False})
    one = config.model_copy(update={"candidates": [candidate], "evaluation_config": settings})
    _, result = await run(one)

    found = scores(result, "small")
    assert result.status == "completed"
    assert found["base-eval"] < found["icl-eval"]  # type: ignore[operator]
    base = result.candidates[0].evaluations[0]
    score = base.scores["function_name_and_args_accuracy"]
    assert score.n + score.unscored == 30
    own, judged = base.scores["nemo_function_name_and_args"], base.scores["nemo_judge_similarity"]
    assert own.n + judged.n == 30
    assert base.usage.tokens_in > 0
    stored = rows(Path(str(base.predictions)))
    assert len([row for row in stored if row["response"]]) == 30
    assert sum("nemo_function_name_and_args" in row["scores"] for row in stored) == own.n
    assert len(nemo.happened("evaluated")) == 2
    assert nemo.hub.repos == {}
    assert nemo.deployments.look() == {}
