"""A whole run over a log in Elasticsearch, which searches its vectors as well, named by a saved block."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from blocks.elasticsearch.block import ElasticsearchLogs
from blocks.elasticsearch.connection import connect
from blocks.elasticsearch.template import MAPPINGS
from flows.run_flywheel import run_flywheel
from flywheel.config import EmbedderConfig, FlywheelConfig, IclConfig
from flywheel.results import RunResult
from tests.fakes.elasticsearch_server import elasticsearch_server
from tests.fakes.openai_provider import OpenAIProvider
from tests.fakes.tcp_proxy import TcpProxy, tcp_proxy
from tests.reading import logged_records

pytestmark = [pytest.mark.slow, pytest.mark.long]
INDEX = "log-store-sample"


async def test_a_run_gives_the_same_from_elasticsearch_that_was_away_as_from_the_files_it_was_loaded_from(
    config: FlywheelConfig, prefect_api: None, sample_log: Path, tmp_path: Path
) -> None:
    name = "flywheel-elasticsearch-logs/production"
    with OpenAIProvider() as embeddings, elasticsearch_server(tmp_path) as url, proxy_before(url) as way:
        here = EmbedderConfig(base_url=embeddings.url, model="embed")
        there = here.model_copy(update={"search": name})
        config = config.model_copy(
            update={"candidates": config.candidates[:1], "icl_config": IclConfig(embedder=here)}
        )
        from_files = await result_of(config, "from-files")
        load(ElasticsearchLogs(hosts=[url], index=INDEX), logged_records(sample_log))
        block = ElasticsearchLogs(hosts=[f"http://127.0.0.1:{way.port}"], index=INDEX, attempts=2)
        await block.asave("production", overwrite=True)
        way.turn_away(3)  # the log store is gone for longer than one try of the step waits for it
        changed = {
            "connections": config.connections.model_copy(update={"log_store": name}),
            "icl_config": IclConfig(embedder=there),
        }
        from_server = await result_of(config.model_copy(update=changed), "from-server")
        assert way.turned_away == 3
    assert from_server.status == "completed"
    assert from_server.eval_set == from_files.eval_set
    assert scores(from_server) == scores(from_files)
    compared, searched = Path(config.connections.home, "datasets").glob("icl/*/examples.jsonl")
    assert searched.read_bytes() == compared.read_bytes() != b""


def proxy_before(url: str) -> contextlib.AbstractContextManager[TcpProxy]:
    place = urlsplit(url)
    return tcp_proxy(str(place.hostname), int(place.port or 0))


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
