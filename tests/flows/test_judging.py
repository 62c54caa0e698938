"""Whole runs with a judge: what it leaves behind, and what its failure costs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.connections import open_dataset_store, open_run_store
from blocks.ports import DatasetRef
from blocks.scoring.judge_connection import JudgeModel
from flywheel.config import (
    AnalysisConfig,
    BudgetConfig,
    CandidateConfig,
    EmbedderConfig,
    FlywheelConfig,
    IclConfig,
    JudgeConfig,
    MetricsConfig,
    PriceConfig,
)
from flywheel.results import JudgeRun, RunResult, Used
from tasks.evaluating.judging import judge_health
from tests.fakes.gpu_platform import GpuPlatformServer
from tests.fakes.judge_server import ScriptedJudge
from tests.fakes.openai_provider import OpenAIProvider
from tests.flows.test_run_flywheel import pytestmark as pytestmark
from tests.flows.test_run_flywheel import run


def with_judge(config: FlywheelConfig, judge: JudgeConfig, **more: object) -> FlywheelConfig:
    candidates = [CandidateConfig(name="alpha", model="small-a", icl=False, customize=False)]
    return config.model_copy(update={"candidates": candidates, "judge_config": judge, **more})


async def judge_runs(config: FlywheelConfig, result: RunResult) -> list[JudgeRun]:
    store = await open_run_store(config.connections)
    try:
        return store.judge_runs(result.run_id)
    finally:
        store.close()


async def lines(config: FlywheelConfig, uri: str) -> list[dict[str, object]]:
    store = await open_dataset_store(config.connections)
    folder, _, file = uri.rpartition("/")
    path = store.open(DatasetRef(name=folder.rpartition("/")[2], uri=folder)) / file
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_a_judge_rates_each_evaluation_and_people_correct_it(
    config: FlywheelConfig, tmp_path: Path
) -> None:
    async with ScriptedJudge() as server:
        block = JudgeModel(base_url=server.base_url, model="small-judge-7b", api_key=SecretStr("sk-secret"))
        await block.save("main", overwrite=True)
        judge = JudgeConfig(block="flywheel-judge/main", position_probe=1.0)
        prices = [PriceConfig(model="small-judge-7b", input_per_1k=1.0, output_per_1k=10.0)]
        first = with_judge(
            config,
            judge,
            metrics_config=MetricsConfig(primary="tool_calling_correctness"),
            analysis_config=AnalysisConfig(prices=prices),
        )
        state, result = await run(first)
        asked = len(server.bodies)

        assert state.is_completed()
        (judged,) = await judge_runs(first, result)
        (evaluation,) = result.candidates[0].evaluations
        assert evaluation.primary == "tool_calling_correctness"
        for metric in ("similarity", "tool_calling_correctness"):
            assert judged.scores[metric] == evaluation.scores[metric]
        assert sum(evaluation.scores[m].n + evaluation.scores[m].unscored for m in judged.scores) == 30
        assert judged.judge == "small-judge-7b"
        assert {headers["Authorization"] for headers in server.headers} == {"Bearer sk-secret"}
        assert "sk-secret" not in json.dumps(result.config) + repr(judged)
        health = {one.metric: one for one in await judge_health(result.run_id, first)}
        assert health["tool_calling_correctness"].agreement_n > 0
        assert health["similarity"].flip_rate == 0
        assert health["similarity"].same_family  # both begin with "small"
        # Every answer of the scripted judge states 11 tokens in and 3 out.
        assert sum(one.tokens_in for one in health.values()) == 11 * asked
        assert sum(one.tokens_out for one in health.values()) == 3 * asked
        assert sum(one.cost or 0.0 for one in health.values()) == pytest.approx(0.041 * asked)
        assert result.used["judge of alpha"] == Used(0.0, pytest.approx(0.041 * asked))

        predictions = await lines(first, evaluation.predictions or "")
        verdicts = await lines(first, judged.verdicts or "")
        for verdict in verdicts:
            prediction = next(p for p in predictions if p["id"] == verdict["id"])
            assert prediction["scores"][verdict["metric"]] == verdict["score"]  # type: ignore[index]

        labels = tmp_path / "labels.jsonl"
        sheet = await lines(first, (judged.verdicts or "").replace("verdicts.jsonl", "label_sheet.jsonl"))
        for line in sheet:
            line["label"] = 1
        labels.write_text("\n".join(map(json.dumps, sheet)), encoding="utf-8")
        again = with_judge(first, judge.model_copy(update={"human_labels": str(labels)}))
        await run(again, run_id="run-b")
        questions = [json.dumps(body["messages"]) for body in server.bodies]
        assert len(set(questions)) == len(questions)  # the second run asked of what was new alone
        assert len(questions) < 2 * asked
        health = {one.metric: one for one in await judge_health("run-b", again)}
        assert sum(one.tokens_in for one in health.values()) == 11 * (len(questions) - asked)
        assert health["similarity"].kappa_n > 0
        assert health["similarity"].corrected is not None


async def test_a_judge_that_the_platform_deploys_is_up_only_while_it_is_needed(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    config = with_judge(config, JudgeConfig(model="small-judge"))
    state, result = await run(config)

    events = [what for what, name in gpu_platform.events if what in ("deployed", "shut down")]
    assert events == ["deployed", "shut down", "deployed", "shut down"]
    assert set(result.used) == {"alpha", "judge of alpha"}
    assert result.used["judge of alpha"].gpu_hours > 0
    assert gpu_platform.deployments == {}
    (judged,) = await judge_runs(config, result)
    # What the fake platform serves is no judge: it gives no rating, which is counted and not scored.
    assert judged.scores["similarity"].value in (None, 0.0)
    assert {one.parse_failures > 0 for one in await judge_health(result.run_id, config)} == {True}
    assert state.is_completed()


async def test_a_judge_that_would_exceed_the_budget_is_not_deployed_and_the_answers_stay(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    budget = BudgetConfig(gpu_hours_per_run=1.5, expected_gpu_hours=1.0)
    config = with_judge(config, JudgeConfig(model="small-judge", gpus=2), budget_config=budget)
    state, result = await run(config)

    assert len(gpu_platform.happened("deployed")) == 1
    (alpha,) = result.candidates
    assert (alpha.status, alpha.waits_for) == ("pending", "budget")
    assert "judge of alpha is expected to need 2 GPU-hours" in str(alpha.error)
    assert [evaluation.error for evaluation in alpha.evaluations] == [None]
    assert result.expected == {}
    assert state.name != "Completed"


async def test_a_judge_that_refuses_leaves_the_other_scores_and_a_partial_candidate(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer
) -> None:
    async with ScriptedJudge() as server:
        judge = JudgeConfig(base_url=server.base_url.replace("/v1", "/v9"), model="judge", max_attempts=1)
        config = with_judge(config, judge)
        state, result = await run(config)
    (candidate,) = result.candidates
    assert (candidate.status, state.name) == ("partial", "Partial")
    assert "did not get through base-eval" in (candidate.error or "")
    scores = candidate.evaluations[0].scores
    assert scores["function_name_and_args_accuracy"].n == 30
    assert scores["tool_calling_correctness"].unscored > 0
    (judged,) = await judge_runs(config, result)
    assert judged.error


@pytest.mark.parametrize("setting", ["similarity_prompt", "human_labels", "function"])
async def test_a_judge_whose_files_are_not_there_stops_the_run_before_any_model_is_touched(
    config: FlywheelConfig, gpu_platform: GpuPlatformServer, setting: str
) -> None:
    missing = {"function": {"function": "/not/there.py:judge"}}.get(
        setting, {"model": "m", "base_url": "http://127.0.0.1:9/v1", setting: "/not/there"}
    )
    state, result = await run(with_judge(config, JudgeConfig.model_validate(missing)))
    assert state.is_failed()
    assert "/not/there" in (result.error or "")
    assert gpu_platform.events == []


async def test_a_run_scores_by_rules_functions_commands_and_meaning(
    config: FlywheelConfig, tmp_path: Path
) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "def short(request, reference, response):\n    return True\n"
        "def broken(request, reference, response):\n    raise ValueError('no table for it')\n",
        encoding="utf-8",
    )
    metrics = MetricsConfig.model_validate(
        {
            "primary": "short",
            "arguments": [{"argument": "order_id", "compare": "ignore"}],
            "custom": [
                {"name": "short", "function": f"{own}:short"},
                {"name": "broken", "function": f"{own}:broken"},
                {"name": "suite", "command": [sys.executable, "-S", "-c", "raise SystemExit(1)"]},
            ],
        }
    )
    with OpenAIProvider() as embeddings:
        icl = IclConfig(embedder=EmbedderConfig(base_url=embeddings.url, model="embed"))
        changed = with_judge(config, JudgeConfig(), metrics_config=metrics, icl_config=icl)
        state, result = await run(changed)
    assert state.is_completed()
    (evaluation,) = result.candidates[0].evaluations
    assert evaluation.primary == "short"
    assert (evaluation.scores["short"].value, evaluation.scores["suite"].value) == (1.0, 0.0)
    assert evaluation.scores["embedding_similarity"].n > 0
    predictions = await lines(changed, evaluation.predictions or "")
    assert all({"short", "suite"} <= set(p["scores"]) for p in predictions)  # type: ignore[call-overload]
    assert evaluation.scores["broken"].n == 0
    assert result.analysis is not None
    (told,) = [note for note in result.analysis.notes if "broken" in note]
    assert told.startswith("alpha, base-eval: The metric broken failed on 30 answers")
    assert "no table for it" in told
