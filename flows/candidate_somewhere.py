"""Where a candidate's flow runs: in this process, or on a worker of a work pool."""

from __future__ import annotations

from flows.run_candidate import run_candidate
from flywheel.config import CandidateConfig, FlywheelConfig
from flywheel.rerun import PartConfig
from flywheel.results import CandidateResult
from tasks.candidates.deployment import run_on_worker
from tasks.curating.curation import CuratedData


async def candidate_somewhere(
    run_id: str, candidate: CandidateConfig, config: FlywheelConfig, data: CuratedData, part: PartConfig
) -> CandidateResult:
    """The same flow in this process, or on a worker where the settings name a deployment of it."""
    if not config.connections.candidate_deployment:
        return await run_candidate(run_id, candidate, config, data, part)
    parameters = {"run_id": run_id, "candidate": candidate, "config": config, "data": data, "part": part}
    return await run_on_worker(run_id, candidate, config, {**parameters, "keep": True})
