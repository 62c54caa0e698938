"""Runs step by step and without a Prefect server: from a log and answers over a socket to what is concluded."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.logging import disable_run_logger

from blocks.connections import open_run_store
from flywheel.config import (
    AnalysisConfig,
    CandidateConfig,
    ConnectionsConfig,
    DataSplitConfig,
    FlywheelConfig,
    LogsConfig,
    PriceConfig,
    ThresholdsConfig,
)
from flywheel.curation.funnel import funnel_of
from flywheel.findings.analysis import Analysis
from flywheel.results import CandidateResult, Customization, RunResult
from tasks.concluding.analysis import analyse
from tasks.concluding.history import history_of_data, recall_history, remember
from tasks.curating.curation import (
    CuratedData,
    build_base_and_training,
    deduplicate_records,
    extract_records,
    require_no_leakage,
    validate_records,
)
from tasks.curating.splitting import split_records
from tasks.evaluating.evaluation import evaluate
from tasks.evaluating.production import ask_production_again
from tasks.runs import begin_run, end_run, keep_candidate, keep_curation
from tests.fakes.chat_server import ChatServer, completion

Respond = Callable[[dict[str, Any], int], Any]


def question(number: int) -> str:
    """Questions of which no two are near to each other."""
    generator = random.Random(number)
    words = ["".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(8)]
    return f"{number} {' '.join(words)}"


def write_log(
    folder: Path, numbers: range, repeats: int = 0, system: str = "", a_conversation: int = 1
) -> Path:
    """One call an hour; the first `repeats` questions are asked a second time, every fifth of these answered anew.

    `system` is the system prompt of all of them, none where it is empty. With `a_conversation` above 1, so many calls
    after each other bear the id of one conversation.
    """
    folder.mkdir(parents=True)
    lines = []
    before = [{"role": "system", "content": system}] if system else []
    for place, number in enumerate([*numbers, *list(numbers)[:repeats]]):
        again = place >= len(numbers)
        answer = f"answer {number}" if not again or place % 5 else f"another answer {number}"
        record = {
            "id": f"call-{number}{'-again' if again else ''}",
            "workload_id": "questions",
            "client_id": "acme",
            "timestamp": 1_760_000_000 + 3600 * (number + (1000 if again else 0)),
            "latency_ms": 2000,
            "request": {
                "model": "large",
                "messages": [*before, {"role": "user", "content": question(number)}],
            },
            "response": completion(answer, model="large"),
        }
        if a_conversation > 1:
            record["conversation_id"] = f"talk {number // a_conversation}"
        lines.append(json.dumps(record))
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def answering(right: Callable[[int], bool]) -> Respond:
    """Answers a question as production did where `right` says so, and is the surer of itself where it does."""

    def respond(body: dict[str, Any], _: int) -> dict[str, Any]:
        number = int(body["messages"][-1]["content"].split()[0])
        answer = completion(f"answer {number}" if right(number) else "no idea")
        if body.get("logprobs"):
            logprob = -0.01 if right(number) else -2.0
            answer["choices"][0]["logprobs"] = {"content": [{"token": "answer", "logprob": logprob}]}
        return answer

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
    sides = await split_records.fn(config, extracted, validated, deduplicated, history)
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
    with disable_run_logger():  # tasks log to their run, of which there is none here
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
