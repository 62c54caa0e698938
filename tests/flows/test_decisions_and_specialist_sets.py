"""What a run does with people: it waits for their decision when told to, and asks the items that they kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.flow_runs import aresume_flow_run

from blocks.connections import open_dataset_store
from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.run_evidence import evidence_of, logged_times
from flows.run_flywheel import run_flywheel
from flywheel.config import (
    CandidateConfig,
    ConnectionsConfig,
    DecisionConfig,
    EvaluationConfig,
    FlywheelConfig,
)
from flywheel.decisions import with_decision
from flywheel.errors import ConfigError
from flywheel.evaluation.files import read_items
from flywheel.load_test import average_rate
from flywheel.report.specialist_set import as_lines, specialist_items
from flywheel.results import RunResult
from tasks.concluding.decisions import wait_for_decisions
from tests.unit.report.full_run import full_run

pytestmark = pytest.mark.slow


@flow(name="waiting")
async def waiting(config: FlywheelConfig) -> None:
    """The end of a run alone."""
    await wait_for_decisions("run-1", config, look_every=0.5)


def waits(home: Path, hours: float) -> tuple[FlywheelConfig, SqliteRunStore]:
    """A stored run with one surfaced candidate, and settings that wait for a decision so long."""
    home.mkdir()
    store = SqliteRunStore(home / "runs.sqlite")
    store.save_run(msgspec.structs.replace(full_run(), workload_id="w", decisions=[]))
    config = FlywheelConfig(
        workload_id="w",
        client_id="c",
        connections=ConnectionsConfig(home=str(home)),
        decision_config=DecisionConfig(require_decision=True, wait_hours=hours),
    )
    return config, store


async def paused_run() -> Any:
    paused = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
    async with asyncio.timeout(120), get_client() as client:
        while not (runs := await client.read_flow_runs(flow_run_filter=paused)):
            await asyncio.sleep(0.2)
    return runs[0].id


async def test_a_filled_in_form_is_recorded_with_its_points(prefect_api: None, tmp_path: Path) -> None:
    config, store = waits(tmp_path / "home", hours=1)
    going = asyncio.create_task(waiting(config))
    form = {"decision": "approve", "by": " Ada ", "note": "fine", "spot_check": True, "load_test": True}
    await aresume_flow_run(await paused_run(), run_input=form)
    await asyncio.wait_for(going, 120)

    (decision,) = store.load_run("run-1").decisions
    assert (decision.decision, decision.by, decision.note) == ("approved", "Ada", "fine")
    assert [point for point, done in decision.checklist.items() if done] == ["spot-check", "load-test"]


async def test_a_form_without_a_name_is_refused_and_the_run_goes_on_waiting(
    prefect_api: None, tmp_path: Path
) -> None:
    config, store = waits(tmp_path / "home", hours=1)
    going = asyncio.create_task(waiting(config))
    flow_run = await paused_run()
    with pytest.raises(RuntimeError, match="by"):
        await aresume_flow_run(flow_run, run_input={"decision": "approve", "by": ""})
    assert not going.done()
    assert store.load_run("run-1").decisions == []
    await aresume_flow_run(flow_run, run_input={"decision": "reject", "by": "Ada"})
    await asyncio.wait_for(going, 120)
    assert [decision.decision for decision in store.load_run("run-1").decisions] == ["rejected"]


async def test_a_decision_recorded_elsewhere_ends_the_waiting(prefect_api: None, tmp_path: Path) -> None:
    config, store = waits(tmp_path / "home", hours=1)
    going = asyncio.create_task(waiting(config))
    await paused_run()
    store.update_run("run-1", lambda run: with_decision(run, "small", "approved", by="Ada"))
    await asyncio.wait_for(going, 120)
    assert [decision.by for decision in store.load_run("run-1").decisions] == ["Ada"]


async def test_a_run_that_nobody_decides_of_ends_with_the_decision_open(
    prefect_api: None, tmp_path: Path
) -> None:
    config, store = waits(tmp_path / "home", hours=2 / 3600)
    state = await asyncio.wait_for(waiting(config, return_state=True), 120)
    assert state.is_completed()
    assert store.load_run("run-1").decisions == []


async def test_a_run_that_surfaced_nobody_does_not_wait(prefect_api: None, tmp_path: Path) -> None:
    config, store = waits(tmp_path / "home", hours=1)
    store.update_run("run-1", lambda run: msgspec.structs.replace(run, analysis=None))
    await asyncio.wait_for(waiting(config), 120)


async def test_divergent_answers_come_back_in_a_later_run_with_scores_of_their_own(
    config: FlywheelConfig, tmp_path: Path
) -> None:
    one = config.model_copy(
        update={"candidates": [CandidateConfig(name="alpha", model="small-a", icl=False)]}
    )
    first = await finished(one, "run-a")
    store = await open_dataset_store(config.connections)
    evidence = evidence_of(first, store)
    items = specialist_items(evidence, evidence.answers)
    assert items
    assert average_rate(logged_times(first, store)) is not None
    kept = tmp_path / "specialist.jsonl"
    kept.write_bytes(as_lines(items))

    again = one.model_copy(update={"evaluation_config": EvaluationConfig(extra_items=str(kept))})
    second = await finished(again, "run-b")

    for before, after in zip(first.candidates[0].evaluations, second.candidates[0].evaluations, strict=True):
        assert before.primary is not None
        assert after.scores[before.primary] == before.scores[before.primary]  # its own scores are untouched
        score = after.scores[f"specialist/{before.primary}"]
        assert 0 < score.n + score.unscored <= len(items)
    base = second.candidates[0].evaluations[0]
    assert base.specialist is not None
    folder = Path(base.specialist.removeprefix("file://"))
    assert {item.id for item in read_items(folder / "specialist_items.jsonl")} <= {item.id for item in items}


async def test_a_specialist_set_that_is_not_there_stops_the_run_before_anything_is_deployed(
    config: FlywheelConfig,
) -> None:
    missing = config.model_copy(update={"evaluation_config": EvaluationConfig(extra_items="/no/such.jsonl")})
    state = await run_flywheel(missing, run_id="run-a", return_state=True)
    with pytest.raises(ConfigError, match=r"such\.jsonl"):
        await state.aresult()


async def finished(config: FlywheelConfig, run_id: str) -> RunResult:
    await run_flywheel(config, run_id=run_id, return_state=True)
    return SqliteRunStore(Path(config.connections.home) / "runs.sqlite").load_run(run_id)
