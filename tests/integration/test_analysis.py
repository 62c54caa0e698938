"""From a log and answers over a socket to what is concluded of them, step by step and without a Prefect server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prefect.logging import disable_run_logger

from blocks.connections import open_dataset_store, open_run_store
from blocks.run_evidence import stored_file
from flywheel.cli.main import main
from flywheel.config import (
    AnalysisConfig,
    ArgumentConfig,
    CustomMetricConfig,
    EvaluationConfig,
    MetricsConfig,
    ProductionEndpointConfig,
)
from flywheel.overrides import with_overrides
from tasks.candidates.rerun import curated_by
from tasks.concluding.conclusions import drawn_again
from tasks.evaluating.evaluation import evaluate
from tasks.evaluating.specialist import ask_specialist_set
from tests.fakes.chat_server import ChatServer, completion
from tests.integration.analysing import answering, settings, whole_run, write_log


async def test_a_candidate_that_answers_like_production_is_surfaced_with_what_it_saves(
    tmp_path: Path,
) -> None:
    config = settings(tmp_path, write_log(tmp_path / "log", range(150)))
    result, analysis = await whole_run("run-1", config, answering(lambda number: number % 30 != 0))
    assert result.analysis == analysis
    assert [verdict.outcome for verdict in analysis.verdicts] == ["surfaced", "surfaced"]
    assert "can be considered" in analysis.conclusion
    base, tuned = analysis.costs
    assert base.missing == []
    assert base.per_request == pytest.approx(0.011 * 0.1 + 0.003 * 0.2)
    assert base.production_per_request == pytest.approx(0.011 * 1.0 + 0.003 * 2.0)
    assert base.requests_per_month == pytest.approx(24 * 365.25 / 12, rel=0.01)
    assert base.production_test_time_compute == pytest.approx(14 * 2.0)
    assert tuned.fine_tune == 5.0
    assert tuned.break_even_days is not None
    [ceiling] = analysis.ceilings
    assert ceiling.source == "assumed"
    assert any("not known" in note for note in analysis.notes)
    assert analysis.kpis.share_instrumented == 1.0
    assert analysis.kpis.cost_per_1k_after == pytest.approx(base.per_1k_tokens)
    assert analysis.kpis.turn_around_seconds is not None


async def test_every_verdict_cascade_and_conversation_can_be_computed_again_from_what_is_stored(
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path / "log", range(150), a_conversation=2)
    config = settings(tmp_path, log, evaluation_config=EvaluationConfig(logprobs=True))
    config = with_overrides(config, {"analysis_config.thresholds.margin": 0.3})
    result, analysis = await whole_run("run-1", config, answering(lambda number: number % 4 != 0))
    for verdict, evaluation in zip(analysis.verdicts, result.candidates[0].evaluations, strict=True):
        assert evaluation.primary == verdict.metric
        assert verdict.score == pytest.approx(
            evaluation.scores[verdict.metric].value
        )  # every item stands for one call
        assert verdict.difference.value == pytest.approx(verdict.score - 1)
    of_base = [cascade for cascade in analysis.cascades if cascade.eval_type == "base-eval"]
    assert [cascade.signal for cascade in of_base] == ["request length", "confidence"]
    length, sure = of_base
    base, costs = result.candidates[0].evaluations[0], analysis.costs[0]
    assert costs.per_request is not None
    assert costs.production_per_request is not None
    for cascade in of_base:
        assert cascade.points[-1].quality == pytest.approx(base.scores[cascade.metric].value)
        assert cascade.points[-1].cost_per_request == pytest.approx(costs.per_request)
    assert (length.outcome, sure.outcome) == ("no_useful_cut", "useful")
    assert sure.chosen is not None
    right = base.scores["exact_match"].value  # who is sure is right word for word
    assert (sure.chosen.share, sure.chosen.quality) == (pytest.approx(right), 1.0)
    assert sure.chosen.cost_per_request == pytest.approx(
        costs.per_request + (1 - sure.chosen.share) * costs.production_per_request
    )
    whole, _ = analysis.trajectories
    assert (whole.conversations, whole.steps, whole.metric) == (30, 60, "exact_match")
    # An even number begins each conversation, and only even ones are answered wrongly.
    assert whole.all_agree.value == whole.agreeing.value
    assert whole.first_divergence == [pytest.approx(30 * (1 - (whole.all_agree.value or 0)))]
    store = await open_dataset_store(config.connections)
    with contextlib.closing(await open_run_store(config.connections)) as runs, disable_run_logger():
        again = await asyncio.to_thread(drawn_again, result, store, runs)
    assert (again.cascades, again.trajectories) == (analysis.cascades, analysis.trajectories)


async def test_the_command_draws_every_conclusion_again_and_names_one_that_its_answers_do_not_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    respond = answering(lambda number: number % 4 != 0)
    async with ChatServer(answering(lambda number: number % 3 != 0)) as production:
        there = ProductionEndpointConfig(base_url=production.base_url, model="large")
        config = settings(
            tmp_path,
            write_log(tmp_path / "log", range(150)),
            analysis_config=AnalysisConfig(production_endpoint=there),
        )
        result, analysis = await whole_run("run-1", config, respond)
    command = ["score", "--run", "run-1", "--set", f"connections.home={config.connections.home}", "--json"]
    assert await asyncio.to_thread(main, command) == 0
    again = json.loads(capsys.readouterr().out)["conclusions"]
    assert {name: len(one["again"]) for name, one in again.items() if isinstance(one["again"], list)} == {
        "verdicts": 2,
        "comparisons": 1,
        "ceilings": 1,
        "costs": 2,
        "regressions": 0,
        "judge_health": 0,
        "cascades": 2,
    }
    assert again["conclusion"]["again"] == result.message
    assert all(one["same"] for one in again.values())
    assert again["ceilings"]["again"][0]["source"] == "replayed"

    (verdict, other) = analysis.verdicts
    nicer = msgspec.structs.replace(analysis, verdicts=[msgspec.structs.replace(verdict, score=0.99), other])
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        runs.save_run(msgspec.structs.replace(result, analysis=nicer))
    assert await asyncio.to_thread(main, command) == 3
    again = json.loads(capsys.readouterr().out)["conclusions"]
    assert [name for name, one in again.items() if not one["same"]] == ["verdicts"]


async def test_production_that_is_asked_again_sets_the_ceiling_and_one_that_is_away_ends_nothing(
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path / "log", range(150))
    prone_to_change = answering(lambda number: number % 3 != 0)
    async with ChatServer(prone_to_change) as production:
        there = ProductionEndpointConfig(base_url=production.base_url, model="large")
        config = settings(tmp_path, log, analysis_config=AnalysisConfig(production_endpoint=there))
        _, analysis = await whole_run("run-1", config, prone_to_change)
    assert analysis.ceilings[0].source == "replayed"
    assert analysis.ceilings[0].value < 0.9
    assert len(production.bodies) == 60
    assert [verdict.difference.value for verdict in analysis.verdicts] == [0, 0]
    assert all("production asked again" in verdict.reason for verdict in analysis.verdicts)

    asked_once = EvaluationConfig(max_attempts=1, circuit_seconds=0)
    away = config.model_copy(update={"evaluation_config": asked_once})
    _, analysis = await whole_run("run-2", away, prone_to_change)
    assert analysis.ceilings[0].source == "assumed"
    assert len(analysis.verdicts) == 2
    assert any("production_endpoint did not answer" in note for note in analysis.notes)


async def test_answers_that_the_log_repeats_set_the_ceiling_where_production_cannot_be_asked(
    tmp_path: Path,
) -> None:
    config = settings(tmp_path, write_log(tmp_path / "log", range(150), repeats=40))
    _, analysis = await whole_run("run-1", config, answering(lambda number: True))
    [ceiling] = analysis.ceilings
    assert (ceiling.source, ceiling.n) == ("teacher_noise", 40)
    assert 0.7 < ceiling.value < 0.99


async def test_production_is_held_to_the_same_rules_and_metrics_as_candidates(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", range(150), repeats=40)
    file = log / "log.jsonl"
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for record in records:  # the same call each time, with a remark that is worded anew by every fifth repeat
        record["request"]["tools"] = [{"type": "function", "function": {"name": "file"}}]
        remark = record["response"]["choices"][0]["message"]["content"]
        record["response"] = filing(record["request"]["messages"][-1]["content"], remark)
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    (tmp_path / "own.py").write_text(SLOW_AT_FIRST, encoding="utf-8")
    metrics = MetricsConfig(
        arguments=[ArgumentConfig(argument="remark", compare="ignore")],
        custom=[CustomMetricConfig(name="calls", function=f"{tmp_path / 'own.py'}:calls")],
    )

    def respond(body: dict[str, Any], number: int) -> dict[str, Any]:
        return filing(body["messages"][-1]["content"], f"remark {number}")

    async with ChatServer(respond) as production:
        there = ProductionEndpointConfig(base_url=production.base_url, model="large")
        config = settings(
            tmp_path, log, metrics_config=metrics, analysis_config=AnalysisConfig(production_endpoint=there)
        )
        result, analysis = await whole_run("run-1", config, respond)
    [ceiling] = analysis.ceilings
    assert (ceiling.source, ceiling.value) == ("replayed", 1.0)
    store = await open_dataset_store(config.connections)
    answers = stored_file(store, analysis.replayed or "").read_text(encoding="utf-8").splitlines()
    assert {json.loads(answer)["scores"]["calls"] for answer in answers} == {1.0}

    by_the_log = msgspec.structs.replace(result, analysis=msgspec.structs.replace(analysis, replayed=None))
    with contextlib.closing(await open_run_store(config.connections)) as runs:
        [ceiling] = drawn_again(by_the_log, store, runs).ceilings
    assert (ceiling.source, ceiling.n, ceiling.value) == ("teacher_noise", 40, 1.0)

    # So is a specialist set.
    datasets = curated_by(result).datasets
    hard = store.open(datasets.ref) / "base" / "eval_data.jsonl"
    config = with_overrides(config, {"evaluation_config.extra_items": str(hard)})
    evaluation = result.candidates[0].evaluations[0]
    with disable_run_logger():
        async with ChatServer(respond) as server:
            asked = await ask_specialist_set.fn(
                "run-1", config.candidates[0], evaluation, server.endpoint, datasets, config
            )
    found = {name: score.value for name, score in asked.scores.items() if name.startswith("specialist/")}
    assert found["specialist/function_name_and_args_accuracy"] == found["specialist/calls"] == 1.0

    for evaluation in result.candidates[0].evaluations:
        ended, began = (
            datetime.fromisoformat(at or "") for at in (evaluation.finished_at, evaluation.started_at)
        )
        assert (ended - began).total_seconds() - (evaluation.runtime_seconds or 9e9) > 0.4  # the metric's own


async def test_how_long_asking_took_is_unknown_where_an_earlier_attempt_did_part_of_it(
    tmp_path: Path,
) -> None:
    config = settings(tmp_path, write_log(tmp_path / "log", range(150)))
    result, _ = await whole_run("run-1", config, answering(lambda number: True))
    assert all(evaluation.runtime_seconds for evaluation in result.candidates[0].evaluations)
    with disable_run_logger():
        async with ChatServer() as server:
            again = await evaluate.fn(
                "run-1",
                config.candidates[0],
                "base-eval",
                server.endpoint,
                curated_by(result).datasets,
                None,
                config,
            )
    assert server.bodies == []
    assert again.runtime_seconds is None


SLOW_AT_FIRST = """
import time
waits = [0.6]
def calls(request, reference, response):
    time.sleep(waits.pop() if waits else 0)
    return True
"""


def filing(case: str, remark: str) -> dict[str, Any]:
    return completion(None, [("file", json.dumps({"case": case, "remark": remark}))], model="large")
