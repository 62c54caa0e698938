"""From a log and answers over a socket to what is concluded of them, step by step and without a Prefect server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prefect.logging import disable_run_logger

from blocks.connections import open_run_store
from flywheel.analysis import Analysis
from flywheel.cli.main import main
from flywheel.config import (
    AnalysisConfig,
    CandidateConfig,
    ConnectionsConfig,
    DataSplitConfig,
    EvaluationConfig,
    FlywheelConfig,
    HistoryConfig,
    LogsConfig,
    PriceConfig,
    ProductionEndpointConfig,
    ThresholdsConfig,
)
from flywheel.curation.funnel import funnel_of
from flywheel.results import CandidateResult, Customization, RunResult
from tasks.analysis import analyse
from tasks.curation import (
    CuratedData,
    build_base_and_training,
    deduplicate_records,
    extract_records,
    require_no_leakage,
    split_records,
    validate_records,
)
from tasks.evaluation import evaluate
from tasks.history import history_of_data, recall_history, remember
from tasks.production import ask_production_again
from tasks.runs import begin_run, end_run, keep_candidate, keep_curation
from tests.fakes.chat_server import ChatServer, completion

Respond = Callable[[dict[str, Any], int], Any]


@pytest.fixture(autouse=True)
def without_run_logs() -> Iterator[None]:
    """Tasks log to their run, of which there is none here."""
    with disable_run_logger():
        yield


def question(number: int) -> str:
    """Questions of which no two are near to each other."""
    generator = random.Random(number)
    words = ["".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(8)]
    return f"{number} {' '.join(words)}"


def write_log(folder: Path, numbers: range, repeats: int = 0) -> Path:
    """One call an hour; the first `repeats` questions are asked a second time, every fifth of these answered anew."""
    folder.mkdir(parents=True)
    lines = []
    for place, number in enumerate([*numbers, *list(numbers)[:repeats]]):
        again = place >= len(numbers)
        answer = f"answer {number}" if not again or place % 5 else f"another answer {number}"
        record = {
            "id": f"call-{number}{'-again' if again else ''}",
            "workload_id": "questions",
            "client_id": "acme",
            "timestamp": 1_760_000_000 + 3600 * (number + (1000 if again else 0)),
            "latency_ms": 2000,
            "request": {"model": "large", "messages": [{"role": "user", "content": question(number)}]},
            "response": completion(answer, model="large"),
        }
        lines.append(json.dumps(record))
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def answering(right: Callable[[int], bool]) -> Respond:
    """Answers a question as production did where `right` says so."""

    def respond(body: dict[str, Any], _: int) -> dict[str, Any]:
        number = int(body["messages"][-1]["content"].split()[0])
        return completion(f"answer {number}" if right(number) else "no idea")

    return respond


def settings(tmp_path: Path, log: Path, **fields: Any) -> FlywheelConfig:
    prices = [
        PriceConfig(model="large", input_per_1k=1.0, output_per_1k=2.0),
        PriceConfig(model="small", input_per_1k=0.1, output_per_1k=0.2, fine_tune=5.0),
    ]
    values: dict[str, Any] = {
        "workload_id": "questions",
        "client_id": "acme",
        "logs": LogsConfig(path=str(log)),
        "data_split_config": DataSplitConfig(eval_size=60, min_total_records=10),
        "connections": ConnectionsConfig(home=str(tmp_path / "home")),
        "candidates": [CandidateConfig(name="little", model="small")],
        "analysis_config": AnalysisConfig(prices=prices, thresholds=ThresholdsConfig(margin=0.2)),
    }
    return FlywheelConfig(**(values | fields))


async def curate(run_id: str, config: FlywheelConfig) -> CuratedData:
    history = await recall_history.fn(run_id, config)
    extracted = await extract_records.fn(run_id, config, history)
    validated = await validate_records.fn(config, extracted)
    deduplicated = await deduplicate_records.fn(config, validated, history)
    sides = await split_records.fn(config, validated, deduplicated, history)
    checked = await require_no_leakage.fn(config, validated, sides)
    datasets = await build_base_and_training.fn(config, validated, checked)
    data = CuratedData(
        validated=validated,
        assignment=checked,
        datasets=datasets,
        history=history_of_data(history, extracted, sides),
    )
    funnel = funnel_of(extracted.counts, validated.counts, deduplicated.counts, sides.counts, checked.counts)
    await keep_curation.fn(run_id, config, data, funnel)
    return data


async def whole_run(run_id: str, config: FlywheelConfig, respond: Respond) -> tuple[RunResult, Analysis]:
    """A run of one candidate that `respond` plays, evaluated as it is and as if it were fine-tuned."""
    await begin_run.fn(run_id, config)
    data = await curate(run_id, config)
    async with ChatServer(respond) as server:
        evaluations = [
            await evaluate.fn(
                run_id, config.candidates[0], kind, server.endpoint, data.datasets, None, config
            )
            for kind in ("base-eval", "customized-eval")
        ]
    trained = Customization(job="job", status="completed", runtime_seconds=60.0)
    result = CandidateResult("little", "small", "completed", evaluations, trained)
    await keep_candidate.fn(run_id, config, result)
    replayed = await ask_production_again.fn(run_id, config, data)
    analysis = await analyse.fn(run_id, config, data, replayed)
    await remember.fn(run_id, config, data, [result])
    await end_run.fn(run_id, config, "completed", analysis.conclusion)
    return (await open_run_store(config.connections)).load_run(run_id), analysis


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


async def test_every_verdict_can_be_computed_again_from_what_is_stored(tmp_path: Path) -> None:
    config = settings(tmp_path, write_log(tmp_path / "log", range(150)))
    result, analysis = await whole_run("run-1", config, answering(lambda number: number % 4 != 0))
    for verdict, evaluation in zip(analysis.verdicts, result.candidates[0].evaluations, strict=True):
        assert evaluation.primary == verdict.metric
        assert verdict.score == pytest.approx(
            evaluation.scores[verdict.metric].value
        )  # every item stands for one call
        assert verdict.difference.value == pytest.approx(verdict.score - 1)


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
    assert {name: len(one["again"]) for name, one in again.items()} == {
        "verdicts": 2,
        "comparisons": 1,
        "ceilings": 1,
        "costs": 2,
    }
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


async def test_answers_that_the_log_repeats_set_the_ceiling_where_production_cannot_be_asked(
    tmp_path: Path,
) -> None:
    config = settings(tmp_path, write_log(tmp_path / "log", range(150), repeats=40))
    _, analysis = await whole_run("run-1", config, answering(lambda number: True))
    [ceiling] = analysis.ceilings
    assert (ceiling.source, ceiling.n) == ("teacher_noise", 40)
    assert 0.7 < ceiling.value < 0.99


async def test_a_regression_is_seen_on_the_kept_items_of_a_log_that_has_moved_on(tmp_path: Path) -> None:
    first = settings(
        tmp_path, write_log(tmp_path / "first", range(150)), history_config=HistoryConfig(fresh_share=0.1)
    )
    before, _ = await whole_run("run-1", first, answering(lambda number: True))
    moved_on = LogsConfig(path=str(write_log(tmp_path / "second", range(100, 260))))
    later = first.model_copy(update={"logs": moved_on})
    after, analysis = await whole_run("run-2", later, answering(lambda number: number % 3 != 0))
    assert after.eval_set == before.eval_set
    holdout = analysis.holdout
    assert holdout is not None
    assert (holdout.items, holdout.fresh_items, holdout.uses) == (60, 6, 2)
    assert holdout.not_in_log > 0
    assert {(r.against, r.run_id, r.outcome) for r in analysis.regressions} == {
        ("last", "run-1", "regressed"),
        ("best", "run-1", "regressed"),
    }
    for regression in analysis.regressions:
        assert regression.difference.n == 60
        assert regression.then == 1.0
        assert regression.difference.value == pytest.approx(regression.now - 1.0)


async def test_a_worn_out_evaluation_set_is_renewed_when_there_is_enough_new_traffic(tmp_path: Path) -> None:
    first = settings(
        tmp_path, write_log(tmp_path / "first", range(150)), history_config=HistoryConfig(holdout_budget=1)
    )
    before, _ = await whole_run("run-1", first, answering(lambda number: True))
    again, analysis = await whole_run("run-2", first, answering(lambda number: True))
    assert again.eval_set == before.eval_set
    assert any("worn out" in note for note in analysis.notes)

    moved_on = LogsConfig(path=str(write_log(tmp_path / "second", range(100, 260))))
    later = first.model_copy(update={"logs": moved_on})
    renewed, analysis = await whole_run("run-3", later, answering(lambda number: True))
    assert analysis.holdout is not None
    assert analysis.holdout.renewed
    assert analysis.holdout.uses == 1
    assert renewed.eval_set != before.eval_set
    assert renewed.funnel["held_back"] > 0
    assert analysis.regressions == []


async def test_history_can_be_left_alone(tmp_path: Path) -> None:
    config = settings(
        tmp_path,
        write_log(tmp_path / "first", range(150)),
        history_config=HistoryConfig(keep_evaluation_set=False),
    )
    first, analysis = await whole_run("run-1", config, answering(lambda number: True))
    assert first.memory is None
    assert analysis.holdout is None
    second, _ = await whole_run("run-2", config, answering(lambda number: True))
    assert second.datasets == first.datasets


async def test_an_earlier_run_whose_files_are_gone_is_noted_and_ends_nothing(tmp_path: Path) -> None:
    config = settings(tmp_path, write_log(tmp_path / "first", range(150)))
    first, _ = await whole_run("run-1", config, answering(lambda number: True))
    for evaluation in first.candidates[0].evaluations:
        shutil.rmtree(Path(str(evaluation.predictions)).parent)
    shutil.rmtree(Path(str(first.memory)))
    _, analysis = await whole_run("run-2", config, answering(lambda number: True))
    assert [verdict.outcome for verdict in analysis.verdicts] == ["surfaced", "surfaced"]
    assert analysis.regressions == []
    assert any("run-1 cannot be compared with" in note for note in analysis.notes)
