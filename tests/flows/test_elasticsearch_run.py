"""A whole run over a log in Elasticsearch, named by a saved block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blocks.elasticsearch.block import ElasticsearchLogs
from blocks.elasticsearch.connection import connect
from blocks.elasticsearch.template import MAPPINGS
from flows.run_flywheel import run_flywheel
from flywheel.config import FlywheelConfig
from flywheel.results import RunResult
from tests.fakes.elasticsearch_server import elasticsearch_server
from tests.reading import logged_records

pytestmark = [
    pytest.mark.slow,
    # Prefect's concurrency client leaves its sockets to the garbage collector; ours are closed by their owners.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
    ),
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
]
INDEX = "log-store-sample"


async def test_a_run_gives_the_same_from_elasticsearch_as_from_the_files_it_was_loaded_from(
    config: FlywheelConfig, prefect_api: None, sample_log: Path, tmp_path: Path
) -> None:
    config = config.model_copy(update={"candidates": config.candidates[:1]})
    from_files = await result_of(config, "from-files")
    with elasticsearch_server(tmp_path) as url:
        block = ElasticsearchLogs(hosts=[url], index=INDEX)
        await block.asave("production", overwrite=True)
        load(block, logged_records(sample_log))
        connections = {"log_store": "flywheel-elasticsearch-logs/production"}
        changed = {"connections": config.connections.model_copy(update=connections)}
        from_server = await result_of(config.model_copy(update=changed), "from-server")
    assert from_server.status == "completed"
    assert from_server.eval_set == from_files.eval_set
    assert scores(from_server) == scores(from_files)


async def result_of(config: FlywheelConfig, run_id: str) -> RunResult:
    state = await run_flywheel(config, run_id=run_id, return_state=True)
    result: RunResult = await state.aresult()
    return result


def load(block: ElasticsearchLogs, records: Any) -> None:
    with connect(block.settings()) as client:
        client.indices.create(index=INDEX, mappings=MAPPINGS)
        operations = [part for record in records for part in ({"index": {}}, record)]
        client.bulk(index=INDEX, operations=operations, refresh=True)


def scores(run: Any) -> Any:
    return [
        (candidate.candidate, evaluation.eval_type, evaluation.scores)
        for candidate in run.candidates
        for evaluation in candidate.evaluations
    ]
