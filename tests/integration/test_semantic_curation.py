"""`flywheel curate` that compares requests by meaning, with vectors of an endpoint on a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.openai_provider import OpenAIProvider
from tests.integration.curating import curate, lines_of, many_records, record, write_records


@pytest.fixture
def provider() -> Iterator[OpenAIProvider]:
    with OpenAIProvider() as server:
        yield server


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """80 calls, and the first ten of them again in other words."""
    records = many_records(80)
    for number in range(10):
        words = records[number]["request"]["messages"][0]["content"].split()
        records.append(record(80 + number, " ".join(reversed(words))))
    return write_records(tmp_path / "log.jsonl", records)


def options(home: Path, provider: OpenAIProvider, *more: str) -> list[str]:
    settings = [
        f"connections.home={home}",
        f"icl_config.embedder.base_url={provider.url}",
        "icl_config.embedder.model=embed",
        *more,
    ]
    return [word for setting in settings for word in ("--set", setting)]


def test_repeats_in_other_words_are_merged_and_a_second_curation_asks_for_no_vector_again(
    provider: OpenAIProvider, log: Path, tmp_path: Path
) -> None:
    words = options(tmp_path / "home", provider, "dedup_config.semantic.mode=merge")
    words += ["--set", "leakage_config.semantic.mode=remove"]
    for out in ("one", "two"):
        ended = curate(log, tmp_path / out, *words, workload="w", client="c")
        assert ended.returncode == 0, ended.stderr
        asked = [text for body in provider.requests("POST", "/v1/embeddings") for text in body["input"]]
        assert len(asked) == 90
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text())
    assert (
        manifest["funnel"]["near_duplicates"]
        == manifest["steps"]["deduplicate"]["same_meaning"]["repeats"]
        == 10
    )
    reasons = [line["detail"] for line in lines_of(tmp_path / "two" / "rejected.jsonl")]
    assert all("Means the same as record r" in reason for reason in reasons)
    certificate = json.loads((tmp_path / "two" / "certificate.json").read_text())
    assert certificate["same_meaning"]["rows_that_reach_it"] == 0


def test_leaks_in_other_words_are_removed_where_repeats_were_not_merged(
    provider: OpenAIProvider, log: Path, tmp_path: Path
) -> None:
    words = options(
        tmp_path / "home", provider, "leakage_config.semantic.mode=remove", "data_split_config.eval_size=40"
    )
    ended = curate(log, tmp_path / "out", *words, workload="w", client="c")
    assert ended.returncode == 0, ended.stderr
    certificate = json.loads((tmp_path / "out" / "certificate.json").read_text())
    removed = certificate["leaking_rows"]["same_meaning"]
    assert removed == certificate["leaks_removed"] > 0
    evaluation = {row["id"] for row in lines_of(tmp_path / "out" / "base" / "eval_data.jsonl")}
    training = {row["id"] for row in lines_of(tmp_path / "out" / "train" / "index.jsonl")}
    copies = {f"r{n:04}": f"r{n + 80:04}" for n in range(10)}
    assert not [
        pair for pair in copies.items() if len(set(pair) & evaluation) == len(set(pair) & training) == 1
    ]


def test_without_an_embedder_or_with_one_that_is_down_the_command_says_what_to_do(
    provider: OpenAIProvider, log: Path, tmp_path: Path
) -> None:
    mode = ["--set", "dedup_config.semantic.mode=report"]
    ended = curate(log, tmp_path / "out", *mode, workload="w", client="c")
    assert ended.returncode == 2
    assert "set icl_config.embedder.base_url and icl_config.embedder.model" in ended.stderr
    provider.faults.embeddings_down = True
    words = options(tmp_path / "home", provider, "icl_config.embedder.max_attempts=1")
    ended = curate(log, tmp_path / "out", *words, *mode, workload="w", client="c")
    assert ended.returncode == 4
    assert "The embedder is down" in ended.stderr
    assert not (tmp_path / "out").exists()
