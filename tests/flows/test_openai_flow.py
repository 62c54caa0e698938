"""The same flow on an OpenAI-compatible provider and on a vLLM-like server: nothing of it changes but a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from blocks.connections import open_run_store
from blocks.openai_platform.block import OpenAICompatible
from flows.run_flywheel import run_flywheel
from flywheel.config import (
    CandidateConfig,
    ConnectionsConfig,
    DataSplitConfig,
    EmbedderConfig,
    EvaluationConfig,
    FlywheelConfig,
    IclConfig,
    LogsConfig,
    TrainingConfig,
)
from flywheel.results import RunResult
from tests.fakes.openai_api.state import Faults
from tests.fakes.openai_provider import OpenAIProvider
from tests.flows.traces import stored_by_prefect

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def provider_server(oracle: dict[str, dict[str, Any]]) -> Iterator[OpenAIProvider]:
    with OpenAIProvider(oracle, key="sk-flow") as server:
        yield server


@pytest.fixture
def provider(provider_server: OpenAIProvider, prefect_api: None) -> OpenAIProvider:
    provider_server.faults = Faults()
    provider_server.asked.clear()
    provider_server.jobs.clear()
    provider_server.most_chats = 0
    block = OpenAICompatible(base_url=provider_server.url, api_key=SecretStr("sk-flow"), poll_seconds=0.05)
    block.save("main", overwrite=True)
    return provider_server


@pytest.fixture
def config(sample_log: Path, tmp_path: Path, provider: OpenAIProvider) -> FlywheelConfig:
    return FlywheelConfig(
        workload_id="support-router",
        client_id="acme-web",
        logs=LogsConfig(path=str(sample_log)),
        data_split_config=DataSplitConfig(eval_size=30, limit=300),
        connections=ConnectionsConfig(
            home=str(tmp_path / "home"), platform="flywheel-openai-compatible/main"
        ),
        evaluation_config=EvaluationConfig(concurrency=5),
        gpu_slots=2,
        candidates=[CandidateConfig(name="alpha", model="small-a", context_length=32_768)],
    )


async def run(config: FlywheelConfig, run_id: str) -> RunResult:
    await run_flywheel(config, run_id=run_id, return_state=True)
    store = await open_run_store(config.connections)
    try:
        return store.load_run(run_id)
    finally:
        store.close()


def values(result: RunResult, position: int = 0) -> dict[str, float | None]:
    evaluations = result.candidates[position].evaluations
    return {e.eval_type: e.scores[e.primary].value if e.primary else None for e in evaluations}


async def test_a_run_ends_with_base_icl_and_customized_results_and_the_key_is_stored_nowhere(
    config: FlywheelConfig, provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.lost_creates = 1
    provider.faults.bad_polls = 2
    provider.faults.answer_seconds = 0.01
    result = await run(config, "openai-a")

    assert result.status == "completed", result
    found = values(result)
    assert list(found) == ["base-eval", "icl-eval", "customized-eval"]
    assert found["base-eval"] < found["icl-eval"] < found["customized-eval"]
    tuned = result.candidates[0].customization
    assert (tuned.status, tuned.tokens, tuned.train_loss) == ("completed", 4_321, 0.5)
    assert len(provider.jobs) == 1
    assert provider.files == {}
    assert provider.most_chats <= 5  # base, icl and customized together
    stored = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert stored
    assert not [path for path in stored if b"sk-flow" in path.read_bytes()]
    assert b"sk-flow" not in await stored_by_prefect("support-router")


async def test_fine_tunes_that_fail_or_reach_their_bound_and_an_embedder_that_is_down_cost_their_own_evaluations(
    config: FlywheelConfig, provider: OpenAIProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.faults.fail_at_step = 99
    monkeypatch.setenv("EMBEDDER_KEY", "sk-flow")
    embedder = EmbedderConfig(base_url=f"{provider.url}/nowhere", model="embed", api_key_env="EMBEDDER_KEY")
    bounded = CandidateConfig(
        name="bounded", model="small-b", icl=False, training_config=TrainingConfig(max_hours=1e-9)
    )
    candidates = [*config.candidates, bounded]
    config = config.model_copy(update={"icl_config": IclConfig(embedder=embedder), "candidates": candidates})
    result = await run(config, "openai-b")

    assert result.status == "partial"
    base, icl, customized = result.candidates[0].evaluations
    assert base.error is None
    assert base.scores[base.primary].n == 30
    assert "/embeddings answered 404" in str(icl.error)
    assert icl.scores == {}
    assert "GPU fell off the bus" in str(customized.error)
    # The second was cancelled at its bound, of which it was told before that it looks short.
    cut = result.candidates[1]
    assert "training_config.max_hours (1e-09 h)" in str(cut.customization.cut)
    assert cut.customization.error == cut.customization.cut
    assert [evaluation.error is None for evaluation in cut.evaluations] == [True, False]
    assert {job["model"]: job["status"] for job in provider.jobs.values()} == {
        "small-a": "failed",
        "small-b": "cancelled",
    }
    await stored_by_prefect("and training_config.max_hours is 1e-09: it will probably be cut")
