"""A whole run whose history is in MongoDB and whose datasets are at a URL, both by saved blocks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from blocks.connections import open_dataset_store, open_run_store
from blocks.datasets.fsspec_block import FsspecDatasets
from blocks.mongo.block import MongoRuns
from flows.run_flywheel import run_flywheel
from flywheel.config import FlywheelConfig
from tasks.concluding.divergent import divergent_table
from tests.fakes.mongo_server import mongo_server

pytestmark = pytest.mark.slow


@pytest.fixture
def blocks(prefect_api: None, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Settings that name saved blocks."""
    with mongo_server(tmp_path / "mongodb") as server:
        MongoRuns(url=SecretStr(server.uri), database="history").save("main", overwrite=True)
        FsspecDatasets(url=f"file://{tmp_path}/shared", copies=str(tmp_path / "copies")).save(
            "main", overwrite=True
        )
        yield {"run_store": "flywheel-mongodb-runs/main", "dataset_store": "flywheel-url-datasets/main"}


async def test_two_runs_at_once_keep_their_history_in_mongodb_and_their_datasets_at_a_url(
    config: FlywheelConfig, blocks: dict[str, str], tmp_path: Path
) -> None:
    connections = config.connections.model_copy(update=blocks)
    config = config.model_copy(update={"connections": connections, "candidates": config.candidates[:1]})
    states = await asyncio.gather(
        run_flywheel(config, run_id="run-a", return_state=True),
        run_flywheel(config, run_id="run-b", return_state=True),
    )
    assert [state.is_completed() for state in states] == [True, True], [state.message for state in states]

    store = await open_run_store(connections)
    runs = {found.run_id: found for found in store.list_runs("support-router")}
    assert set(runs) == {"run-a", "run-b"}
    assert store.allocated() == []
    first, second = sorted(runs.values(), key=lambda found: found.started_at)
    assert first.status == second.status == "completed"
    assert len(first.eval_set) == 16
    assert store.comparable_run(second) == first
    metric = second.candidates[0].evaluations[0].primary
    assert metric is not None
    best = store.best_score("support-router", "acme-web", metric, first.eval_set)
    assert best is not None
    assert best.evaluation.eval_type == "customized-eval"
    assert "mongodb://" not in msgspec.json.encode(first).decode()
    store.close()

    datasets = await open_dataset_store(connections)
    assert divergent_table(first, datasets, most=3)
    assert not (tmp_path / "home" / "runs.sqlite").exists()
    assert not (tmp_path / "home" / "datasets").exists()
    assert len(list((tmp_path / "shared" / "datasets").glob("*.json"))) == 1


def test_a_process_that_never_saw_the_block_can_use_it(blocks: dict[str, str], tmp_path: Path) -> None:
    # Prefect finds only those block classes that were imported.
    shown = subprocess.run(
        [
            sys.executable,
            "-m",
            "flywheel.cli.main",
            "runs",
            "--set",
            f"connections.run_store={blocks['run_store']}",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "FLYWHEEL_HOME": str(tmp_path), "PREFECT_API_URL": str(PREFECT_API_URL.value())},
        timeout=300,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "No runs yet" in shown.stdout
