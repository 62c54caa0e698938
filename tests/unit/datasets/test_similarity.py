"""What the lexical index calls close."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flywheel.datasets.similarity import LexicalIndex, jaccard, shingles

TEXTS = [
    "where is my order 1234, it should have come on monday",
    "please cancel my subscription to the newsletter",
    "the blue jacket I bought does not fit, I want my money back",
    "wo bleibt meine bestellung 1234",
]


def test_the_closest_text_is_the_one_that_shares_its_words() -> None:
    found = LexicalIndex(TEXTS).similarities(["cancel the newsletter subscription", "my jacket doesn't fit"])
    assert found.argmax(axis=1).tolist() == [1, 2]


def test_a_text_is_closest_to_itself_with_similarity_one() -> None:
    found = LexicalIndex(TEXTS).similarities(TEXTS)
    assert np.allclose(np.diag(found), 1, atol=1e-5)
    assert (found.argmax(axis=1) == np.arange(len(TEXTS))).all()


def test_an_empty_text_is_close_to_nothing() -> None:
    assert not LexicalIndex([*TEXTS, ""]).similarities(["", TEXTS[0]])[:, -1].any()
    assert jaccard(shingles(""), shingles("")) == 0


def exact_jaccard(a: str, b: str, size: int = 5) -> float:
    def of(text: str) -> set[bytes]:
        data = " ".join(text.lower().split()).encode("utf-8", "surrogatepass")
        return {data[i : i + size] for i in range(max(1, len(data) - size + 1))} if data else set()

    left, right = of(a), of(b)
    return len(left & right) / len(left | right) if left and right else 0.0


@given(st.text(max_size=60), st.text(max_size=60))
def test_similarity_of_hashed_shingles_is_that_of_the_shingles(a: str, b: str) -> None:
    assert jaccard(shingles(a), shingles(b)) == exact_jaccard(a, b)
    assert jaccard(shingles(a), shingles(a + b)) == exact_jaccard(a, a + b)


def test_case_and_white_space_do_not_hide_a_copy() -> None:
    assert jaccard(shingles("Where is  my ORDER\n17?"), shingles("where is my order 17?")) == 1
