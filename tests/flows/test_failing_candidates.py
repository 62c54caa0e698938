"""One run in which each candidate but one fails in a way of its own: what that costs the run, and the others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flywheel.config import CandidateConfig
from flywheel.results import CandidateResult, RunResult
from tests.conftest import fresh
from tests.fakes.gpu_platform import GpuPlatformServer
from tests.flows.conftest import two_candidates
from tests.flows.test_run_flywheel import pytestmark as pytestmark
from tests.flows.test_run_flywheel import run

CANDIDATES = {"alpha": "small-a", "beta": "small-b", "gamma": "small-c", "delta": "small-d"}


@dataclass
class Troubled:
    """What became of it: beta has no image, gamma's training fails, delta's endpoint refuses all."""

    state: Any
    result: RunResult
    deployed: list[str]
    left: list[str]

    def __getitem__(self, candidate: str) -> CandidateResult:
        return next(found for found in self.result.candidates if found.candidate == candidate)


@pytest.fixture(scope="module")
def troubled(
    prefect_api: object,
    platform_server: GpuPlatformServer,
    sample_log: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Troubled:
    config = two_candidates(sample_log, tmp_path_factory.mktemp("troubled"))
    candidates = [CandidateConfig(name=name, model=model) for name, model in CANDIDATES.items()]
    fresh(platform_server)
    platform_server.misbehave.failing_deployments = {"beta"}
    platform_server.misbehave.failing_jobs = {"gamma"}
    platform_server.misbehave.refusing_models = {"small-d"}
    platform_server.misbehave.lost_deploy_answers = 1
    state, result = asyncio.run(run(config.model_copy(update={"candidates": candidates})))
    assert platform_server.misbehave.lost_deploy_answers == 0
    return Troubled(state, result, platform_server.happened("deployed"), list(platform_server.deployments))


def test_a_failing_deployment_marks_its_candidate_and_nothing_else(troubled: Troubled) -> None:
    assert troubled.state.is_completed()
    assert troubled.state.name == "Partial"
    assert troubled.result.status == "partial"
    assert (troubled["alpha"].status, troubled["beta"].status) == ("completed", "failed")
    assert [evaluation.error for evaluation in troubled["alpha"].evaluations] == [None, None, None]
    assert "image not found" in str(troubled["beta"].error)
    assert "beta" in troubled.result.message


def test_a_failing_fine_tune_leaves_the_candidates_other_evaluations_standing(troubled: Troubled) -> None:
    assert troubled["gamma"].status == "partial"
    base, icl, customized = troubled["gamma"].evaluations
    assert base.error is None
    assert icl.error is None
    assert "failed on the platform" in str(customized.error)
    assert customized.scores == {}


def test_an_endpoint_that_refuses_everything_fails_its_evaluations_not_the_items(troubled: Troubled) -> None:
    assert troubled["delta"].status == "failed"
    assert len(troubled["delta"].evaluations) == 3
    assert all(evaluation.error for evaluation in troubled["delta"].evaluations)


def test_a_lost_answer_to_a_deploy_is_tried_again_and_adopts_what_is_there(troubled: Troubled) -> None:
    assert len(troubled.deployed) == 3  # beta's never was
    assert len(set(troubled.deployed)) == 3
    assert troubled.left == []
