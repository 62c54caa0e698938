"""What one run leaves for the next, on a log that moves on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blocks.connections import open_dataset_store
from blocks.run_evidence import ITEMS, stored
from flywheel.config import (
    AnalysisConfig,
    FlywheelConfig,
    HistoryConfig,
    LogsConfig,
    PriceConfig,
    ThresholdsConfig,
)
from flywheel.evaluation.files import read_items
from flywheel.results import RunResult
from tests.fakes.gpu_platform import GpuPlatformServer
from tests.flows.test_run_flywheel import run
from tests.reading import logged_records

pytestmark = pytest.mark.slow


def parts_of_log(sample_log: Path, to: Path) -> tuple[Path, Path]:
    """The workload's log in two windows that overlap by half of the first."""
    records = [r for r in logged_records(sample_log) if r.get("workload_id") == "support-router"]
    cut = [0, len(records) // 3, 2 * len(records) // 3, len(records)]
    windows = []
    for name, chosen in (("first", records[: cut[2]]), ("second", records[cut[1] :])):
        folder = to / name
        folder.mkdir(parents=True)
        lines = [json.dumps(record) for record in chosen]
        (folder / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        windows.append(folder)
    return windows[0], windows[1]


async def files_of(result: RunResult, config: FlywheelConfig) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Evaluation items by id, and the index of the training rows."""
    store = await open_dataset_store(config.connections)
    folder = stored(store, result.datasets["datasets"])
    index = (folder / "train" / "index.jsonl").read_text(encoding="utf-8").splitlines()
    return {item.id: item for item in read_items(folder / ITEMS)}, [json.loads(line) for line in index]


async def test_runs_on_a_log_that_moves_on_share_their_evaluation_set_and_nothing_trained_on(
    config: FlywheelConfig, sample_log: Path, tmp_path: Path, gpu_platform: GpuPlatformServer
) -> None:
    first_log, second_log = parts_of_log(sample_log, tmp_path / "logs")
    prices = [
        PriceConfig(model="prod-large-70b", input_per_1k=0.01, output_per_1k=0.03),
        PriceConfig(model="small-a", input_per_1k=0.001, output_per_1k=0.002, fine_tune=20),
    ]
    config = config.model_copy(
        update={
            "logs": LogsConfig(path=str(first_log)),
            "candidates": config.candidates[:1],
            "history_config": HistoryConfig(fresh_share=0.2),
            "analysis_config": AnalysisConfig(prices=prices, thresholds=ThresholdsConfig(margin=0.3)),
        }
    )
    _, first = await run(config, "run-1")
    analysis = first.analysis
    assert analysis is not None
    assert analysis.notes == [] or "not known" in analysis.notes[0]
    assert {(v.candidate, v.eval_type) for v in analysis.verdicts} == {
        ("alpha", "base-eval"),
        ("alpha", "icl-eval"),
        ("alpha", "customized-eval"),
    }
    assert analysis.conclusion in first.message
    tuned = next(cost for cost in analysis.costs if cost.eval_type == "customized-eval")
    assert tuned.missing == []
    assert tuned.monthly_savings is not None
    assert tuned.monthly_savings.low > 0
    assert analysis.regressions == []
    assert analysis.holdout is not None
    assert (analysis.holdout.items, analysis.holdout.fresh_items, analysis.holdout.uses) == (30, 0, 1)

    moved_on = config.model_copy(update={"logs": LogsConfig(path=str(second_log))})
    _, second = await run(moved_on, "run-2")
    items, trained = await files_of(first, config)
    later_items, later_trained = await files_of(second, config)
    assert second.eval_set == first.eval_set
    assert items.keys() <= later_items.keys()
    fresh = later_items.keys() - items.keys()
    assert len(fresh) == 6
    assert not fresh & {row["id"] for row in trained}
    assert not {row["id"] for row in later_trained} & items.keys()
    assert all(later_items[name].response == item.response for name, item in items.items())
    analysis = second.analysis
    assert analysis is not None
    assert analysis.holdout is not None
    assert (analysis.holdout.items, analysis.holdout.fresh_items, analysis.holdout.uses) == (30, 6, 2)
    assert analysis.holdout.not_in_log > 0
    assert second.funnel["evaluation"] == 36
    assert {(r.eval_type, r.against) for r in analysis.regressions} == {
        ("base-eval", "last"),
        ("icl-eval", "last"),
        ("customized-eval", "last"),
        ("customized-eval", "best"),
    }
    assert {r.outcome for r in analysis.regressions} == {"no_difference_seen"}
    assert {r.difference.n for r in analysis.regressions} == {30}
