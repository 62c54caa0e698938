"""One run that nothing disturbs, looked at from all sides."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey

from blocks.connections import open_dataset_store
from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.run_evidence import ITEMS, stored
from flywheel.config import FlywheelConfig
from flywheel.evaluation.files import read_items
from flywheel.evaluation.predictions import answered_before
from flywheel.evaluation.scoring import score_answer
from flywheel.naming import slug_of
from flywheel.results import RunResult
from tests.conftest import fresh
from tests.fakes.gpu_platform import GpuPlatformServer
from tests.flows.conftest import two_candidates
from tests.flows.test_run_flywheel import pytestmark as pytestmark
from tests.flows.test_run_flywheel import run, scores


@dataclass
class Finished:
    """A run of two candidates, and what the platform was asked for on the way."""

    config: FlywheelConfig
    state: Any
    result: RunResult
    happened: dict[str, list[str]]
    not_in_ledger: list[tuple[str, str]]
    left: list[Any]
    """What is still in the ledger, or on the platform, at the end."""


@pytest.fixture(scope="module")
def finished(
    prefect_api: object,
    platform_server: GpuPlatformServer,
    sample_log: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Finished:
    config = two_candidates(sample_log, tmp_path_factory.mktemp("finished"))
    fresh(platform_server)
    with contextlib.closing(SqliteRunStore(Path(config.connections.home) / "runs.sqlite")) as ledger:
        unknown: list[tuple[str, str]] = []

        def look(kind: str, name: str) -> None:
            if name not in {entry.name for entry in ledger.allocated("run-a")}:
                unknown.append((kind, name))

        platform_server.on_event = look
        state, result = asyncio.run(run(config))
        left = [*ledger.allocated(), *platform_server.deployments]
    happened = {kind: platform_server.happened(kind) for kind in ("deployed", "submitted", "shut down")}
    return Finished(config, state, result, happened, unknown, left)


def test_a_run_evaluates_every_candidate_three_ways_on_the_same_items(finished: Finished) -> None:
    result = finished.result
    assert finished.state.is_completed()
    assert result.status == "completed"
    for candidate in ("alpha", "beta"):
        found = scores(result, candidate)
        assert list(found) == ["base-eval", "icl-eval", "customized-eval"]
        assert found["base-eval"] < found["icl-eval"] < found["customized-eval"]
    for candidate in result.candidates:
        for evaluation in candidate.evaluations:
            score = evaluation.scores[evaluation.primary]
            assert score.n + score.unscored == 30
            assert score.interval.low <= score.value <= score.interval.high
    assert result.funnel["evaluation"] == 30
    assert sum(result.funnel[k] for k in list(result.funnel)[4:]) == result.funnel["read"]


def test_what_the_platform_is_asked_for_is_in_the_ledger_before_and_until_it_is_gone(
    finished: Finished,
) -> None:
    """A process that is killed between asking and writing down would leave what nobody knows of."""
    happened = finished.happened
    assert len(happened["deployed"]) == len(happened["submitted"]) == 2
    assert sorted(happened["deployed"]) == sorted(happened["shut down"])
    assert finished.not_in_ledger == []
    assert finished.left == []


async def test_it_leaves_its_artifacts_under_keys_of_workload_and_client(finished: Finished) -> None:
    ours = ArtifactFilterFlowRunId(any_=[finished.state.state_details.flow_run_id])
    async with get_client() as client:
        for kind in (
            *("summary", "verdicts", "results", "cascades", "costs", "funnel", "leakage", "divergent"),
            "decision",
        ):
            key = ArtifactFilterKey(any_=[f"{kind}-{slug_of('support-router', 'acme-web')}"])
            found = await client.read_artifacts(artifact_filter=ArtifactFilter(key=key, flow_run_id=ours))
            assert found, f"no artifact {kind}"
            assert found[0].data
            if kind == "funnel":
                assert "of the invalid, empty_answer" in str(found[0].data)


async def test_its_scores_can_be_recomputed_from_the_stored_predictions(finished: Finished) -> None:
    store = await open_dataset_store(finished.config.connections)
    items = read_items(stored(store, finished.result.datasets["datasets"]) / ITEMS)
    evaluation = finished.result.candidates[0].evaluations[0]
    uri, _, file = str(evaluation.predictions).rpartition("/")
    predictions = answered_before(stored(store, uri) / file, {item.id for item in items})
    again = [score_answer(item, predictions[item.id].response)[evaluation.primary] for item in items]
    assert sum(again) / len(again) == pytest.approx(evaluation.scores[evaluation.primary].value)


async def test_a_second_run_finds_its_datasets(
    finished: Finished, platform_server: GpuPlatformServer
) -> None:
    platform_server.forget()
    alone = finished.config.model_copy(update={"candidates": finished.config.candidates[:1]})
    _, second = await run(alone, "run-b")

    assert second.datasets == finished.result.datasets
    assert scores(second, "alpha") == scores(finished.result, "alpha")
