"""Vectors from an endpoint on a real socket, and the examples that are chosen by them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blocks.datasets.directory_dataset_store import DirectoryDatasetStore
from blocks.endpoints.embedder import EndpointEmbedder, stored_embedder
from flywheel.config import DataSplitConfig, EmbedderConfig, IclConfig
from flywheel.datasets.embedding import closeness
from flywheel.datasets.icl import EVAL_FILE, NOT_RUN_FILE, build_icl
from flywheel.errors import EndpointRefused, RemoteRejected, TransientRemoteError
from flywheel.progress import silent
from flywheel.token_counters import UpperBoundCounter
from tests.fakes.openai_api.embeddings import vector_of
from tests.fakes.openai_provider import OpenAIProvider
from tests.unit.datasets.tables import Call, read_lines, write_tables

TEXTS = ["where is my parcel", "cancel the order", "my parcel is late", "refund please", "talk to a human"]


@pytest.fixture
def provider() -> Iterator[OpenAIProvider]:
    with OpenAIProvider() as server:
        yield server


def settings(provider: OpenAIProvider, **more: Any) -> EmbedderConfig:
    return EmbedderConfig(
        base_url=provider.url,
        model="embed",
        max_attempts=2,
        **{"timeout_seconds": 60, "batch_size": 2, **more},
    )


def embed(provider: OpenAIProvider, texts: Sequence[str] = TEXTS, **more: Any) -> Any:
    return EndpointEmbedder(settings(provider, **more), first_pause=0.01).embed(texts, "passage", silent)


def test_vectors_come_in_batches_in_the_order_of_the_texts_with_length_one(provider: OpenAIProvider) -> None:
    vectors = embed(provider)
    expected = np.array([vector_of(text) for text in TEXTS], np.float32)
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1)[:, None], atol=1e-6)
    asked = provider.requests("POST", "/v1/embeddings")
    assert sorted(len(body["input"]) for body in asked) == [1, 2, 2]
    assert {body["input_type"] for body in asked} == {"passage"}


def test_a_server_that_knows_no_input_type_is_asked_without(provider: OpenAIProvider) -> None:
    provider.faults.no_input_type = True
    assert np.isfinite(embed(provider, concurrency=1)).all()
    asked = provider.requests("POST", "/v1/embeddings")
    assert ["input_type" in body for body in asked] == [True, False, False, False]


def test_one_bad_text_loses_its_own_vector_and_no_other(provider: OpenAIProvider) -> None:
    provider.faults.bad_texts = {TEXTS[1]}
    vectors = embed(provider, texts=[*TEXTS, "", "  "], batch_size=7)
    assert np.isnan(vectors).any(axis=1).tolist() == [False, True, False, False, False, True, True]
    asked = [text for body in provider.requests("POST", "/v1/embeddings") for text in body["input"]]
    assert all(text.strip() for text in asked)  # many servers refuse the whole batch for an empty one


def test_an_embedder_that_refuses_everything_is_an_error_with_its_words(provider: OpenAIProvider) -> None:
    provider.faults.bad_texts = set(TEXTS)
    with pytest.raises(RemoteRejected, match=r"no vector of any of 5 texts.*input"):
        embed(provider)


def test_an_embedder_that_is_down_or_refuses_the_key_is_an_error(provider: OpenAIProvider) -> None:
    provider.faults.embeddings_down = True
    with pytest.raises(TransientRemoteError, match="down"):
        embed(provider)
    provider.key = "sk-1"
    with pytest.raises(EndpointRefused, match="API key"):
        embed(provider)


def test_vectors_are_kept_by_the_content_of_the_texts(provider: OpenAIProvider, tmp_path: Path) -> None:
    embedder = stored_embedder(settings(provider), DirectoryDatasetStore(tmp_path))
    assert embedder is not None
    first = embedder.embed(TEXTS, "passage", silent)
    asked = len(provider.asked)
    np.testing.assert_array_equal(embedder.embed(list(TEXTS), "passage", silent), first)
    assert len(provider.asked) == asked
    embedder.embed(TEXTS[::-1], "passage", silent)
    embedder.embed(TEXTS, "query", silent)
    assert len(provider.asked) == asked + 6


def test_closeness_is_the_exact_cosine() -> None:
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(n, 16)).astype(np.float32) for n in (3, 5))
    a /= np.linalg.norm(a, axis=1)[:, None]
    b /= np.linalg.norm(b, axis=1)[:, None]
    expected = [[float(np.dot(x.astype(float), y.astype(float))) for y in b] for x in a]
    np.testing.assert_allclose(closeness(a, b), expected, atol=1e-6)


CALLS = [
    *(Call(f"p{n}", f"parcel number {n} where is it", "track_order", "train") for n in range(6)),
    *(Call(f"r{n}", f"money back for thing {n}", "refund", "train") for n in range(6)),
    *(Call(f"c{n}", f"stop order {n} now", "cancel_order", "train") for n in range(6)),
    Call("x", "tell me where my parcel is", "track_order", "evaluation"),
    Call("y", "I want money back", "refund", "evaluation"),
]


def icl(folder: Path, embedder: Any, **more: Any) -> tuple[list[Any], list[Any], dict[str, Any]]:
    validated, assignment = write_tables(folder, CALLS)
    config = IclConfig(**{"max_examples": 4, "relevance_ratio": 0.5, "max_similarity": 1.0, **more})
    stats = build_icl(
        validated,
        assignment,
        folder / "icl",
        config,
        DataSplitConfig(),
        UpperBoundCounter(),
        32_768,
        silent,
        embedder,
    )
    return read_lines(folder / "icl" / EVAL_FILE), read_lines(folder / "icl" / NOT_RUN_FILE), stats


def shown(row: Any) -> list[str]:
    answers = [m for m in row["request"]["messages"] if m["role"] == "assistant"]
    return [m["tool_calls"][0]["function"]["name"] for m in answers]


def test_half_the_examples_are_the_closest_and_the_rest_show_other_tools(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    rows, _, _ = icl(tmp_path, EndpointEmbedder(settings(provider)))
    for row, own in zip(rows, ("track_order", "refund"), strict=True):
        assert len(shown(row)) == 4
        assert shown(row)[-1] == own
        assert shown(row).count(own) == 2
        assert set(shown(row)) == {"track_order", "refund", "cancel_order"}


def test_an_item_without_a_vector_is_not_run_and_says_so(provider: OpenAIProvider, tmp_path: Path) -> None:
    provider.faults.bad_texts = {text for text in _texts(tmp_path) if "tell me where" in text}
    rows, not_run, stats = icl(tmp_path / "b", EndpointEmbedder(settings(provider)))
    assert [row["id"] for row in rows] == ["y"]
    assert [(row["id"], row["reason"]) for row in not_run] == [("x", "not_embedded")]
    assert stats["reasons"] == {"not_embedded": 1}


def _texts(folder: Path) -> list[str]:
    kept: list[str] = []

    class Remembering:
        def embed(self, texts: Sequence[str], kind: str, progress: Any) -> Any:
            kept.extend(texts)
            return np.ones((len(texts), 2), np.float32)

    icl(folder / "a", Remembering())
    return kept


def test_a_failed_embedder_leaves_no_dataset_equal_to_the_base(
    provider: OpenAIProvider, tmp_path: Path
) -> None:
    provider.faults.bad_texts = set(_texts(tmp_path))
    with pytest.raises(RemoteRejected, match="no vector"):
        icl(tmp_path / "b", EndpointEmbedder(settings(provider)))
