from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.curation.texts.normalised_text import Normaliser, Stretches

TEXTS = st.lists(st.text("aB9 .,\n-éÉß漢カ\u00a0ﬁ\u0301", max_size=14), max_size=8)


def expected(text: str) -> str:
    """The definition, a character at a time."""
    folded = unicodedata.normalize("NFKC", text).casefold() if not text.isascii() else text.lower()
    spaced = "".join(
        " " if unicodedata.category(c)[0] in "PSZC" else f" {c} " if c in "漢カ" else c for c in folded
    )
    return " ".join(spaced.split())


@settings(deadline=None)
@given(TEXTS)
def test_a_column_is_normalised_as_each_of_its_texts_is(texts: list[str]) -> None:
    found = Normaliser()(pa.array(texts, pa.string()))
    assert [found.text(i).decode() for i in range(len(texts))] == [expected(text) for text in texts]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is my order?", "where  IS my\torder"),
        ("“Cancel” it — now!", '"cancel" it, now'),
        ("ﬁne, thanks", "fine thanks"),
        ("STRASSE", "straße"),
        ("e\u0301te\u0301", "été"),
        ("１２３", "123"),
    ],
)
def test_spelling_does_not_tell_texts_apart(one: str, other: str) -> None:
    assert Normaliser().one(one) == Normaliser().one(other)


def test_vowel_signs_do_tell_texts_apart() -> None:
    assert Normaliser().one("कि") != Normaliser().one("की")


@settings(deadline=None)
@given(TEXTS, st.integers(1, 5), st.integers(1, 6))
def test_hashes_are_equal_where_the_stretches_are(texts: list[str], words: int, size: int) -> None:
    normalised = Normaliser()(pa.array(texts, pa.string()))
    stretches = Stretches(normalised)
    known: dict[int, bytes] = {}

    def remember(hashes: np.ndarray, owners: np.ndarray, index: int, wanted: list[bytes]) -> None:
        mine = hashes[owners == index].tolist()
        assert len(mine) == len(wanted)
        for key, stretch in zip(mine, wanted, strict=True):
            assert known.setdefault(key, stretch) == stretch
        assert len(set(mine)) == len(set(wanted))

    for index in range(len(texts)):
        text = normalised.text(index)
        split = text.split()
        grams = [b" ".join(split[i : i + words]) for i in range(len(split) - words + 1)]
        remember(*stretches.word_ngrams(words), index, grams)
        remember(*stretches.windows(size), index, [text[i : i + size] for i in range(len(text) - size + 1)])
        remember(stretches.whole(), np.arange(len(texts)), index, [text])
