"""Vectors searched by Elasticsearch over the wire, against the exact comparison in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from elasticsearch import Elasticsearch

from blocks.elasticsearch.settings import ElasticsearchSettings
from blocks.elasticsearch.vectors import PREFIX, ElasticsearchVectors
from blocks.endpoints.embedder import vector_search
from flywheel.config import EmbedderConfig
from flywheel.datasets.embedding import closeness, unit_rows
from flywheel.errors import ConfigError, RemoteRejected, TransientRemoteError
from tests.fakes.tcp_proxy import tcp_proxy
from tests.unit.datasets.test_neighbours import ByLetters, icl


@pytest.fixture
def settings(elasticsearch_url: str) -> ElasticsearchSettings:
    return ElasticsearchSettings(hosts=(elasticsearch_url,), attempts=1)


@pytest.fixture
def client(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with Elasticsearch(elasticsearch_url) as client:
        yield client


def ours(client: Elasticsearch) -> list[str]:
    return sorted(client.indices.get(index=f"{PREFIX}*"))


def test_examples_found_by_elasticsearch_are_those_of_the_exact_comparison(
    settings: ElasticsearchSettings, client: Elasticsearch, tmp_path: Path
) -> None:
    searched = icl(tmp_path / "searched", ElasticsearchVectors(settings), ByLetters())
    assert searched == icl(tmp_path / "exact", None, ByLetters())
    assert ours(client) == []


def test_the_closest_of_the_wanted_classes_come_with_their_cosine(
    settings: ElasticsearchSettings, client: Elasticsearch
) -> None:
    vectors = unit_rows(np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32))
    vectors[7] = np.nan
    classes = ["refund" if n % 3 else "track+refund" for n in range(300)]
    with ElasticsearchVectors(settings).index(vectors, classes) as index:
        assert len(ours(client)) == 1
        hits = index.nearest(vectors[4], {"refund"}, 20)
        everything = index.nearest(vectors[4], {"refund", "track+refund"}, 5_000)
    to_all = closeness(vectors[4][None], vectors)[0]
    eligible = [n for n in range(300) if n % 3 and n != 7]
    assert [position for position, _ in hits] == sorted(eligible, key=lambda n: -to_all[n])[:20]
    assert [value for _, value in hits] == pytest.approx([to_all[n] for n, _ in hits], abs=1e-5)
    assert {position for position, _ in everything} == set(range(300)) - {7}


def test_what_a_killed_process_left_is_deleted_later_and_nothing_younger(
    settings: ElasticsearchSettings, client: Elasticsearch
) -> None:
    left = f"{PREFIX}left-behind"
    client.indices.create(index=left)
    vectors = unit_rows(np.eye(3, dtype=np.float32))
    try:
        with ElasticsearchVectors(settings).index(vectors, list("abc")):
            assert left in ours(client)
        with ElasticsearchVectors(settings, left_behind_seconds=-60).index(vectors, list("abc")):
            assert left not in ours(client)
    finally:
        client.indices.delete(index=left, ignore_unavailable=True)


def test_a_lost_answer_makes_no_second_index_and_loses_no_vector(
    settings: ElasticsearchSettings, client: Elasticsearch
) -> None:
    server = urlsplit(settings.hosts[0])
    vectors = unit_rows(np.eye(3, dtype=np.float32))
    with tcp_proxy(server.hostname or "", server.port or 0) as way:
        there = ElasticsearchSettings(
            hosts=(f"http://127.0.0.1:{way.port}",), attempts=3, first_pause=0.01, timeout_seconds=60
        )
        for question in (b"PUT /flywheel-vectors-", b"_bulk"):
            way.lose_answers(question, 1)
            with ElasticsearchVectors(there).index(vectors, list("abc")) as index:
                assert len(ours(client)) == 1
                assert sorted(index.nearest(vectors[0], "abc", 10)) == [(0, 1), (1, 0), (2, 0)]
        assert way.lost == 2
    assert ours(client) == []


def test_a_server_that_cannot_or_may_not_says_what_it_takes(settings: ElasticsearchSettings) -> None:
    too_wide = unit_rows(np.ones((2, 5_000), np.float32))
    with (
        pytest.raises(RemoteRejected, match=r"8\.13 or later.*create_index.*search=exact"),
        ElasticsearchVectors(settings).index(too_wide, ["a", "b"]),
    ):
        pass
    away = ElasticsearchSettings(hosts=("http://127.0.0.1:9",), attempts=1)
    with (
        pytest.raises(TransientRemoteError, match="cannot be reached"),
        ElasticsearchVectors(away).index(too_wide, ["a", "b"]),
    ):
        pass


async def test_the_setting_names_the_search(elasticsearch_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def embedder(search: str) -> EmbedderConfig:
        return EmbedderConfig(base_url="http://localhost:1/v1", model="embed", search=search)

    assert await vector_search(embedder("exact")) is None
    monkeypatch.setenv("ELASTICSEARCH_URL", elasticsearch_url)
    found: Any = await vector_search(embedder("elasticsearch"))
    assert found.settings.hosts == (elasticsearch_url,)
    monkeypatch.delenv("ELASTICSEARCH_URL")
    with pytest.raises(ConfigError, match="ELASTICSEARCH_URL is not set"):
        await vector_search(embedder("elasticsearch"))
    with pytest.raises(ConfigError, match=r"embedder\.search is 'elastic'"):
        await vector_search(embedder("elastic"))
    with pytest.raises(ValueError, match="no vectors without base_url"):
        EmbedderConfig(search="elasticsearch")
