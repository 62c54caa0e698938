"""Curation on a small cluster of processes gives what one machine gives, row for row."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prefect import flow

from blocks.connections import open_dataset_store
from flows.curate_partitions import curate_by_partitions, extract_and_validate, task_runner_of
from flows.run_flywheel import curate
from flywheel.config import FlywheelConfig
from flywheel.errors import ConfigError, DataError
from tasks.curating.curation import CuratedData, Reference
from tasks.runs import begin_run
from tests.fakes.gpu_platform import GpuPlatformServer
from tests.fakes.openai_provider import OpenAIProvider
from tests.reading import logged_records

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(distributed|tornado|prefect_dask|prefect)"),
]


@flow
async def curated(run_id: str, config: FlywheelConfig) -> CuratedData:
    await begin_run(run_id, config)
    return await curate(run_id, config)


@pytest.fixture
def log(sample_log: Path, tmp_path: Path) -> Path:
    """The sample in five files: a packed one, one of another workload alone, one with lines that are no records."""
    folder = tmp_path / "log"
    folder.mkdir()
    lines = [json.dumps(record) for record in logged_records(sample_log)]
    third = len(lines) // 3
    (folder / "a.jsonl").write_text("\n".join(lines[:third]) + "\n")
    (folder / "b-other.jsonl").write_text(
        '{"workload_id": "other", "client_id": "acme-web", "request": {}, "response": {}}\n'
    )
    with gzip.open(folder / "c.jsonl.gz", "wt") as file:
        file.write("\n".join(lines[third : 2 * third]) + "\n")
    (folder / "d.jsonl").write_text('{"broken\n[1]\n' + "\n".join(lines[2 * third :]) + "\n")
    (folder / "e.jsonl").write_text("\n".join(lines[:20]) + "\n")
    return folder


def with_cluster(config: FlywheelConfig, log: Path, cluster: str) -> FlywheelConfig:
    logs = config.logs.model_copy(update={"path": str(log), "partition_megabytes": 0.0001})
    split = config.data_split_config.model_copy(update={"limit": None})
    connections = config.connections.model_copy(update={"curation_cluster": cluster})
    redaction = config.redaction_config.model_copy(update={"enabled": True})
    return config.model_copy(
        update={
            "logs": logs,
            "data_split_config": split,
            "connections": connections,
            "redaction_config": redaction,
        }
    )


def by_meaning(config: FlywheelConfig, provider: OpenAIProvider) -> FlywheelConfig:
    settings = {
        "dedup_config": {"semantic": {"mode": "merge", "similarity_threshold": 0.99}},
        "leakage_config": {"semantic": {"mode": "remove", "similarity_threshold": 0.99}},
        "icl_config": {"embedder": {"base_url": provider.url, "model": "embed"}},
    }
    return FlywheelConfig.model_validate(config.model_dump() | settings)


async def rows(config: FlywheelConfig, reference: Reference, pattern: str) -> pa.Table:
    store = await open_dataset_store(config.connections)
    return pa.concat_tables([pq.read_table(path) for path in sorted(store.open(reference.ref).glob(pattern))])


async def files(config: FlywheelConfig, reference: Reference) -> dict[str, bytes]:
    folder = (await open_dataset_store(config.connections)).open(reference.ref)
    names = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in names if path.suffix != ".parquet"}


async def test_a_cluster_of_processes_gives_the_datasets_of_one_machine_row_for_row(
    config: FlywheelConfig, log: Path, gpu_platform: GpuPlatformServer
) -> None:
    with OpenAIProvider() as provider:
        config = by_meaning(config, provider)
        alone = with_cluster(config, log, "")
        apart = with_cluster(config, log, os.environ.get("FLYWHEEL_TEST_CLUSTER", "dask"))  # or "ray"
        one = await curated("one", alone)
        asked = len(provider.requests("POST", "/v1/embeddings"))
        many = await curated("many", apart)
        # deduplication, the leakage check and the second run: the same texts, embedded once
        assert len(provider.requests("POST", "/v1/embeddings")) == asked > 0
    assert many.assignment.counts == one.assignment.counts
    assert many.assignment.counts["same_meaning"]["mode"] == "remove"

    table = await rows(alone, one.validated, "validated-*.parquet")
    assert table.num_rows > 500
    assert (await rows(apart, many.validated, "validated-*.parquet")).equals(table)
    assert (await rows(apart, many.assignment, "assignment.parquet")).equals(
        await rows(alone, one.assignment, "assignment.parquet")
    )
    assert await files(apart, many.datasets) == await files(alone, one.datasets)
    assert await files(apart, many.validated) == await files(alone, one.validated)
    counts = {name: value for name, value in many.validated.counts.items() if name != "of_kept"}
    assert json.dumps(counts) == json.dumps(one.validated.counts)
    store = await open_dataset_store(config.connections)
    partitions = list((Path(store.root) / "partition").iterdir())  # type: ignore[attr-defined]
    assert len(partitions) == 5
    assert partitions


async def test_a_cluster_is_asked_for_what_it_can_do(config: FlywheelConfig, log: Path) -> None:
    history = Reference(name="none", uri="none")
    limited = with_cluster(config, log, "dask")
    limited = limited.model_copy(update={"data_split_config": config.data_split_config})
    with pytest.raises(ConfigError, match="limit=none"):
        await extract_and_validate("run", limited, history)
    with pytest.raises(ConfigError, match="use 'dask', 'ray'"):
        task_runner_of("spark")


async def test_a_log_without_the_workload_is_told_as_on_one_machine(
    config: FlywheelConfig, log: Path
) -> None:
    nobody = with_cluster(config, log, "dask").model_copy(update={"workload_id": "nobody"})

    @flow
    async def both() -> Any:
        from tasks.concluding.history import recall_history

        return await curate_by_partitions("nobody", nobody, await recall_history("nobody", nobody))

    with pytest.raises(DataError, match="none of the log's"):
        await both()
