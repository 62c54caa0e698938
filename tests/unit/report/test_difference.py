"""Where two texts differ is marked, and nothing of either is lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.report.difference import MOST_WORDS, Piece, bracketed, difference


def test_the_word_that_differs_is_marked_on_both_sides() -> None:
    reference, answer = difference('track({"id": "A1"})', 'track({"id": "B2"})')
    assert bracketed(reference) == 'track({"id": "⟦A1⟧"})'
    assert bracketed(answer) == 'track({"id": "⟦B2⟧"})'


def test_equal_texts_have_no_mark() -> None:
    assert difference("as it is", "as it is") == ([Piece("as it is", False)], [Piece("as it is", False)])


def test_words_that_differ_side_by_side_are_one_piece() -> None:
    _, answer = difference("a b c d", "a x y d")
    assert bracketed(answer) == "a ⟦x y⟧ d"


def test_texts_too_long_to_compare_word_by_word_are_marked_between_their_common_ends() -> None:
    same = "w " * MOST_WORDS
    reference, answer = difference(f"{same}left{same}", f"{same}right{same}")
    assert [piece.text for piece in reference if piece.differs] == ["lef"]
    assert [piece.text for piece in answer if piece.differs] == ["righ"]


def test_texts_that_repeat_themselves_are_compared_in_no_time() -> None:
    import time

    started = time.process_time()
    difference("word other 1 " * 480, "word else 2 " * 480)
    assert time.process_time() - started < 1.0


@settings(max_examples=50)
@given(st.text(alphabet="ab \n.", max_size=30), st.text(alphabet="ab \n.", max_size=30))
def test_the_pieces_of_each_side_are_the_text_itself(reference: str, answer: str) -> None:
    left, right = difference(reference, answer)
    assert "".join(piece.text for piece in left) == reference
    assert "".join(piece.text for piece in right) == answer
    assert (reference == answer) == (not any(piece.differs for piece in [*left, *right]))
