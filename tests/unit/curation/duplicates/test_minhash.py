from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.curation.duplicates.minhash import band_keys, choose_bands, estimated_similarity, signatures
from flywheel.curation.texts.jaccard import jaccard
from flywheel.curation.texts.shingles import shingle_hashes
from tests.unit.curation.questions import edited, question, shingles, true_jaccard


def joined(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)])
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets


@settings(deadline=None)
@given(st.lists(st.text("abé\n漢", max_size=14), max_size=8), st.integers(2, 20))
def test_a_text_has_as_many_distinct_hashes_as_distinct_shingles(texts: list[str], size: int) -> None:
    hashes, owners = shingle_hashes(*joined(texts), size)
    assert (np.diff(owners) >= 0).all()
    for index, text in enumerate(texts):
        assert len(set(hashes[owners == index].tolist())) == len(shingles(text, size))


@settings(deadline=None)
@given(st.lists(st.text("ab ü", max_size=12), min_size=1, max_size=6), st.integers(2, 12))
def test_jaccard_is_that_of_the_sets_of_shingles(texts: list[str], size: int) -> None:
    data, offsets = joined(texts)
    first, second = (each.ravel() for each in np.indices((len(texts), len(texts))))
    found = jaccard(data, offsets[:-1], offsets[1:], first, second, size)
    expected = [true_jaccard(texts[i], texts[j], size) for i, j in zip(first, second, strict=True)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_jaccard_of_many_pairs_at_once_is_that_of_each() -> None:
    texts = [question(seed % 40) if seed % 3 else edited(question(seed % 40), seed) for seed in range(2_000)]
    data, offsets = joined(texts)
    first = np.arange(0, 2_000)
    second = (first * 7 + 40) % 2_000  # more bytes than one chunk holds
    found = jaccard(data, offsets[:-1], offsets[1:], first, second, 5)
    sample = range(0, 2_000, 97)
    assert [found[i] for i in sample] == pytest.approx(
        [true_jaccard(texts[i], texts[second[i]]) for i in sample]
    )


def test_the_estimate_is_right_on_average_for_texts_shorter_than_the_signature() -> None:
    pairs = [(question(seed, words=14), edited(question(seed, words=14), seed)) for seed in range(400)]
    table = signatures(*joined([text for pair in pairs for text in pair]), 5, 128)
    places = np.arange(0, 800, 2)
    estimates = estimated_similarity(table, places, places + 1)
    errors = estimates - [true_jaccard(*pair) for pair in pairs]
    assert abs(errors.mean()) < 0.01
    assert errors.std() < 0.07


def test_unrelated_texts_agree_in_almost_no_bin() -> None:
    table = signatures(*joined([question(seed) for seed in range(200)]), 5, 128)
    assert estimated_similarity(table, np.arange(100), np.arange(100, 200)).max() < 0.3


def test_signatures_are_the_same_for_ever() -> None:
    table = signatures(*joined(["Where is my order 4711?", "Hi", "Ünïcödé 漢字 text"]), 5, 64)
    assert hashlib.sha256(table.tobytes()).hexdigest()[:16] == "b1e2169efa875ccb"


def test_a_signature_does_not_depend_on_the_texts_around_it() -> None:
    texts = ["", "a", question(1), "", "ab", question(2), "abcd", ""]
    together = signatures(*joined(texts), 5, 32)
    for index, text in enumerate(texts):
        if text:
            assert (signatures(*joined([text]), 5, 32)[0] == together[index]).all()


@settings(deadline=None)
@given(st.floats(0.05, 1), st.integers(16, 512))
def test_bands_find_a_pair_at_the_threshold_and_no_longer_bands_would(
    threshold: float, permutations: int
) -> None:
    def chance(rows: int) -> float:
        return float(1 - (1 - threshold**rows) ** (permutations // rows))

    bands, rows = choose_bands(threshold, permutations)
    assert bands * rows <= permutations
    assert rows == 1 or chance(rows) >= 0.999
    assert rows == permutations or chance(rows + 1) < 0.999


def test_equal_texts_share_every_band_and_unrelated_ones_none() -> None:
    table = signatures(*joined([question(1), question(1), question(2)]), 5, 128)
    keys = band_keys(table, 25, 5)
    assert (keys[:, 0] == keys[:, 1]).all()
    assert not (keys[:, 0] == keys[:, 2]).any()
