"""What a judge's health says comes out again from its verdicts, and changes with them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.datasets.directory_dataset_store import DirectoryDatasetStore
from blocks.history.sqlite_run_store import SqliteRunStore
from blocks.run_evidence import stored_file
from flywheel.config import ConnectionsConfig, FlywheelConfig, JudgeConfig
from flywheel.judging.files import VERDICTS_FILE, write_verdicts
from flywheel.judging.health import HEALTH, health_document, health_of, health_of_runs
from flywheel.judging.questions import JudgeVerdict
from flywheel.results import CandidateResult, JudgeRun, RunResult
from tasks.evaluating.health_again import health_again
from tests.unit.judging.cases import SIMILARITY

RUN = RunResult(
    "run-1",
    "w",
    "c",
    "completed",
    "2026-01-01T00:00:00+00:00",
    production_model="gpt-4o",
    candidates=[CandidateResult("small", "meta/llama-3.2-1b-instruct", "completed")],
)
VERDICTS = [
    JudgeVerdict(
        f"key-{n}", f"i{n}", "similarity", "rated", n, SIMILARITY.score(n), answer="x" * n, cluster=f"i{n}"
    )
    for n in range(1, 11)
]
LABELS = {(verdict.key, "similarity"): max(1, (verdict.rating or 0) - 1) for verdict in VERDICTS}


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[DirectoryDatasetStore, SqliteRunStore]]:
    """A judge's verdicts and what was made of them, kept as a run keeps them."""
    store = DirectoryDatasetStore(tmp_path / "datasets")
    with store.create("verdicts", {"name": "v"}) as staging:
        write_verdicts(staging.path / VERDICTS_FILE, VERDICTS)
    health = health_of(
        "big/llama-3.3-70b-instruct",
        SIMILARITY,
        VERDICTS,
        candidate="small",
        eval_type="base-eval",
        candidate_model="meta/llama-3.2-1b-instruct",
        production_model="gpt-4o",
        labels=LABELS,
    )
    judged = JudgeRun(
        "j",
        RUN.run_id,
        "small",
        "base-eval",
        health.judge,
        "2026-01-01T00:00:00+00:00",
        verdicts=f"{staging.ref.uri}/{VERDICTS_FILE}",
        details={HEALTH: health_document([health]), "scales": {"similarity": [1, 10]}},
    )
    with contextlib.closing(SqliteRunStore(tmp_path / "runs.sqlite")) as runs:
        runs.save_run(RUN)
        runs.save_judge_run(judged)
        yield store, runs


def settings(tmp_path: Path, labels: str) -> FlywheelConfig:
    connections = ConnectionsConfig(home=str(tmp_path))
    return FlywheelConfig(
        workload_id="w", client_id="c", connections=connections, judge_config=JudgeConfig(human_labels=labels)
    )


def test_the_health_of_a_judge_comes_out_again_with_and_without_the_file_of_labels(
    tmp_path: Path, stores: tuple[DirectoryDatasetStore, SqliteRunStore]
) -> None:
    store, runs = stores
    kept = health_of_runs(runs.judge_runs(RUN.run_id))
    file = tmp_path / "labels.jsonl"
    rows = [{"key": key, "metric": metric, "label": label} for (key, metric), label in LABELS.items()]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert kept[0].kappa_n == 10
    assert kept[0].same_family
    assert health_again(RUN, settings(tmp_path, str(file)), store, runs) == kept
    assert health_again(RUN, settings(tmp_path, str(tmp_path / "gone.jsonl")), store, runs) == kept


def test_other_verdicts_make_another_health(
    tmp_path: Path, stores: tuple[DirectoryDatasetStore, SqliteRunStore]
) -> None:
    store, runs = stores
    (judged,) = runs.judge_runs(RUN.run_id)
    file = stored_file(store, judged.verdicts or "")
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().replace(b'"rating":1,', b'"rating":9,'))
    (again,) = health_again(RUN, settings(tmp_path, ""), store, runs)
    (kept,) = health_of_runs(runs.judge_runs(RUN.run_id))
    assert kept.length_correlation == 1.0
    assert again.length_correlation is not None
    assert again.length_correlation < 1.0
