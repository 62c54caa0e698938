from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.config import DedupConfig, FlywheelConfig, LeakageConfig
from flywheel.curation.duplicates.clusters import Clusters
from flywheel.curation.duplicates.deduplication import deduplicate
from flywheel.curation.duplicates.same_meaning import find_same_meaning
from flywheel.curation.leakage.check import check_leakage
from flywheel.curation.schema import ASSIGNMENT, ASSIGNMENT_FILE
from flywheel.curation.texts.embeddings import Embeddings, embedded, embeddings_if
from flywheel.curation.texts.fixed_text_search import find_fixed_text
from flywheel.datasets.embedding import TextKind, unit_rows
from flywheel.datasets.similarity import Floats
from flywheel.errors import ConfigError, LeakageError, RemoteRejected
from flywheel.progress import Progress, silent
from tests.fakes.openai_api.embeddings import vector_of
from tests.unit.curation.questions import question
from tests.unit.curation.tables import Call, assigned, call, kept, rejected, validated


class Words:
    """An embedder for which texts of the same words mean the same, whatever their order; it refuses some."""

    def __init__(self, refused: Sequence[str] = ()) -> None:
        self.asked: list[list[str]] = []
        self.refused = refused

    def embed(self, texts: Sequence[str], kind: TextKind, progress: Progress) -> Floats:
        self.asked.append(list(texts))
        progress("embed passage texts", len(texts), len(texts))
        nothing = [float("nan")] * 64
        vectors = [nothing if text in self.refused else vector_of(text) for text in texts]
        return unit_rows(np.array(vectors, dtype=np.float32))


def in_other_words(text: str, seed: int = 0) -> str:
    words = text.split()
    return " ".join(words[place] for place in np.random.default_rng(seed).permutation(len(words)))


def run(
    folder: Path, calls: Sequence[Call], embedder: Words, **semantic: Any
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    source, out = validated(folder / "in", calls), folder / "out"
    out.mkdir()
    config = DedupConfig.model_validate({"semantic": semantic})
    with embedded(source, folder, embedder, silent, find_fixed_text(source)) as embeddings:
        counts = deduplicate(source, out, config, silent, embeddings=embeddings)
    return counts, {row["record_id"]: row for row in kept(out)}


ASKED = question(1, words=30)


def test_requests_in_other_words_are_merged_with_their_count_and_a_reason(tmp_path: Path) -> None:
    calls = [
        call("new", ASKED, time=3.0),
        call("old", in_other_words(ASKED), time=2.0),
        call("repeat of old", in_other_words(ASKED), time=1.0),
        call("else", question(2), time=1.0),
    ]
    counts, rows = run(tmp_path, calls, Words(), mode="merge")
    assert {name: row["weight"] for name, row in rows.items()} == {"new": 3, "else": 1}
    assert (counts["near_duplicates"], counts["exact_duplicates"]) == (1, 1)
    assert counts["same_meaning"]["repeats"] == counts["same_meaning"]["close_pairs"] == 1
    assert counts["same_meaning"]["closest_pairs"] == [{"record_ids": ["new", "old"], "cosine": 1.0}]
    reasons = {line["record"]["id"]: (line["reason"], line["detail"]) for line in rejected(tmp_path / "out")}
    assert reasons["old"] == ("near_duplicate", "Means the same as record new: cosine 1.000 of vectors.")


def test_a_report_counts_and_lists_and_changes_nothing(tmp_path: Path) -> None:
    calls = [call("new", ASKED, time=3.0), call("old", in_other_words(ASKED)), call("else", question(2))]
    counts, rows = run(tmp_path, calls, Words(), mode="report")
    assert {row["cluster"] for row in rows.values()} == {row["cluster"] for row in rows.values()}
    assert len({row["cluster"] for row in rows.values()}) == len(rows) == 3
    assert counts["near_duplicates"] == 0
    told = counts["same_meaning"]
    assert (told["mode"], told["repeats"], told["close_pairs"]) == ("report", 1, 1)


def test_other_prompts_are_not_compared_and_long_conversations_share_a_cluster_and_stay(
    tmp_path: Path,
) -> None:
    calls = [
        call("a", ASKED),
        call("other prompt", in_other_words(ASKED), system="Translate."),
        call("c1", question(3), "Yes.", question(4)),
        call("c2", in_other_words(question(3)), "Yes.", in_other_words(question(4))),
    ]
    counts, rows = run(tmp_path, calls, Words(), mode="merge")
    assert len(rows) == 4
    assert rows["c1"]["cluster"] == rows["c2"]["cluster"]
    assert rows["a"]["cluster"] != rows["other prompt"]["cluster"]
    assert counts["same_meaning"]["repeats"] == 0


def test_what_has_no_vector_is_kept_and_counted_and_each_text_is_embedded_once(tmp_path: Path) -> None:
    embedder = Words(refused=[in_other_words(ASKED)])
    calls = [
        call("new", ASKED),
        call("refused", in_other_words(ASKED)),
        call("empty", " "),
        call("again", ASKED, system="Translate."),
    ]
    counts, rows = run(tmp_path, calls, embedder, mode="merge")
    assert len(rows) == 4
    assert counts["same_meaning"]["without_vector"] == 2
    assert embedder.asked == [[ASKED, in_other_words(ASKED)]]


def test_texts_are_embedded_in_parts_and_without_what_all_of_them_share(tmp_path: Path) -> None:
    template = question(1, words=60)
    own = [question(100 + i, words=8) for i in range(40)]
    source = validated(tmp_path, [call(f"r{i:02}", f"{template} {text}") for i, text in enumerate(own)])
    embedder, told = Words(), list[tuple[int, int | None]]()

    def tell(stage: str, done: int, total: int | None, detail: str = "") -> None:
        told.append((done, total))

    with embedded(source, tmp_path, embedder, tell, find_fixed_text(source), 16) as embeddings:
        assert [len(part) for part in embedder.asked] == [16, 16, 8]
        assert max(len(text) for part in embedder.asked for text in part) < len(template)
        expected = unit_rows(
            np.array([vector_of(text) for part in embedder.asked for text in part], np.float32)
        )
        np.testing.assert_array_equal(embeddings.of(np.arange(40)), expected)
    assert told == sorted(told)
    assert told[-1] == (40, 40)


def test_vectors_of_several_lengths_are_an_error(tmp_path: Path) -> None:
    class Growing(Words):
        def embed(self, texts: Sequence[str], kind: TextKind, progress: Progress) -> Floats:
            return np.ones((len(texts), 4 + len(super().embed(texts, kind, progress))), dtype=np.float32)

    source = validated(tmp_path, [call(f"r{i}", question(i)) for i in range(3)])
    with (
        pytest.raises(RemoteRejected, match="different lengths"),
        embedded(source, tmp_path, Growing(), silent, part_texts=2),
    ):
        pass


def leaks(folder: Path, **settings: Any) -> tuple[dict[str, Any], set[str], list[dict[str, Any]]]:
    """The certificate, what is left in training, and what was rejected, of a log with leaks in other words."""
    sides = {
        "item": call("item", ASKED),
        "leak": call("leak", in_other_words(ASKED, 1)),
        "other prompt": call("other prompt", in_other_words(ASKED, 2), system="Translate."),
        **{f"t{i}": call(f"t{i}", question(50 + i)) for i in range(5)},
    }
    source, split, out = validated(folder / "in", list(sides.values())), folder / "split", folder / "out"
    for path in (split, out):
        path.mkdir()
    rows = [
        {"row": row, "record_id": name, "timestamp": 1.0, "answer_class": "no_tool", "cluster": name}
        | {"weight": 1, "split": "evaluation" if name == "item" else "train"}
        for row, name in enumerate(sides)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=ASSIGNMENT), split / ASSIGNMENT_FILE)
    config = LeakageConfig.model_validate(settings)
    with embeddings_if(config.semantic.mode != "off", source, folder, Words(), silent) as embeddings:
        certificate = check_leakage(source, split, out, config, silent, embeddings=embeddings)
    assert certificate == json.loads((out / "certificate.json").read_text(encoding="utf-8"))
    train = {row["record_id"] for row in assigned(out) if row["split"] == "train"}
    return certificate, train, rejected(out)


def test_a_leak_in_other_words_leaves_training_with_its_reason_and_its_pair(tmp_path: Path) -> None:
    certificate, train, (line,) = leaks(tmp_path, semantic={"mode": "remove"})
    assert "leak" not in train
    assert "other prompt" in train
    assert (line["reason"], line["detail"]) == (
        "leak",
        "Overlaps with evaluation item item: same_meaning 1.000.",
    )
    assert certificate["leaking_rows"]["same_meaning"] == certificate["leaks_removed"] == 1
    pair = certificate["closest_pairs_removed"][0]
    assert (pair["other_id"], pair["method"], pair["similarity"]) == ("leak", "same_meaning", 1.0)
    assert certificate["same_meaning"]["rows_that_reach_it"] == 1


def test_a_leak_in_other_words_is_listed_or_fails_the_run_as_the_settings_say(tmp_path: Path) -> None:
    certificate, train, lines = leaks(tmp_path / "report", semantic={"mode": "report"})
    assert ("leak" in train, lines) == (True, [])
    assert "same_meaning" not in certificate["leaking_rows"]
    told = certificate["same_meaning"]
    assert [pair["other_id"] for pair in told["closest_pairs_left"]] == ["leak"]
    assert (told["rows_that_reach_it"], told["without_vector"]) == (1, 0)
    with pytest.raises(LeakageError, match="same_meaning 1"):
        leaks(tmp_path / "fail", semantic={"mode": "remove"}, on_leak="fail")
    certificate, train, _ = leaks(tmp_path / "off")
    assert "leak" in train
    assert "same_meaning" not in certificate


@pytest.mark.parametrize("part", ["dedup_config", "leakage_config"])
def test_comparisons_by_meaning_without_an_embedder_are_an_error_that_says_so(
    part: str, tmp_path: Path
) -> None:
    semantic = {"semantic": {"mode": "report"}}
    with pytest.raises(
        ValueError, match=r"semantic.mode is 'report', which needs vectors: set icl_config.embedder"
    ):
        FlywheelConfig.model_validate({"workload_id": "w", "client_id": "c", part: semantic})
    with pytest.raises(ConfigError, match=r"icl_config\.embedder\.base_url"):
        embeddings_if(True, tmp_path, tmp_path, None, silent)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 99),
    texts=st.integers(0, 40),
    kinds=st.integers(1, 12),
    groups=st.integers(1, 3),
    block=st.sampled_from([1, 7, 1_000]),
)
def test_merges_are_those_of_every_pair_looked_at_in_turn(
    seed: int, texts: int, kinds: int, groups: int, block: int
) -> None:
    random = np.random.default_rng(seed)
    # signs: all products are exact, whatever the blocks
    signs = random.choice([-0.25, 0.25], size=(kinds, 16))[random.integers(0, kinds, texts)]
    flipped = np.where(random.random((texts, 16)) < 0.05, -signs, signs)
    vectors = flipped.astype(np.float32)
    vectors[random.random(texts) < 0.1] = np.nan
    rows = random.permutation(texts)
    group = random.integers(0, groups, rows.size)
    may_merge = group != 2
    numbers = np.arange(rows.size)
    clusters = Clusters(rows.size)
    found = find_same_meaning(
        numbers, rows, group, may_merge, Embeddings(vectors, np.arange(texts)), 0.7, clusters, 5, block
    )
    merged = found.representative.copy()
    expected = _in_turn(vectors[rows], group, may_merge, 0.7)
    assert dict(zip(found.member.tolist(), merged.tolist(), strict=True)) == expected
    assert clusters.together(found.member, found.representative).all()
    kept_ones = np.setdiff1d(numbers, found.member)
    cosines = vectors[rows[kept_ones]] @ vectors[rows[kept_ones]].T
    first, second = np.nonzero((cosines >= 0.7) & (group[kept_ones][:, None] == group[kept_ones]))
    assert clusters.together(kept_ones[first], kept_ones[second]).all()


def _in_turn(vectors: Floats, group: Any, may_merge: Any, threshold: float) -> dict[int, int]:
    """Each request in its order takes those behind it that mean the same, unless it was taken itself."""
    taken: dict[int, int] = {}
    for first in range(len(vectors)):
        if first in taken:
            continue
        near = (vectors @ vectors[first] >= threshold) & (group == group[first]) & may_merge
        for second in np.flatnonzero(near).tolist():
            if second > first:
                taken.setdefault(second, first)
    return taken
