from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from flywheel.evaluation.text_metrics import TEXT_METRICS, rouge_l, text_scores


@pytest.mark.parametrize(
    "text", ["hello", "你好世界", "สวัสดี", "!!!", "🙂", "", " a\n b ", "Ünïcödé façade", "مرحبا بك"]
)
def test_a_text_scores_one_against_itself_in_any_script(text: str) -> None:
    assert text_scores(text, text) == dict.fromkeys(TEXT_METRICS, 1.0)


def test_white_space_does_not_count() -> None:
    assert text_scores("a  b\nc", " a b c ")["exact_match"] == 1


@given(st.text(max_size=40), st.text(max_size=40))
def test_every_score_lies_between_zero_and_one(reference: str, candidate: str) -> None:
    assert all(0 <= value <= 1 for value in text_scores(reference, candidate).values())


@given(
    st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "42", "Dog!"]), max_size=12), st.data()
)
def test_rouge_equals_the_reference_implementation_on_english(words: list[str], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.sampled_from([*words, "dog", "sat"]), max_size=12))
    theirs = RougeScorer(["rougeL"]).score(" ".join(words), " ".join(other))["rougeL"].fmeasure
    if words and other:
        assert rouge_l(" ".join(words), " ".join(other)) == pytest.approx(theirs)


def test_scripts_without_spaces_get_partial_credit() -> None:
    assert 0.5 < rouge_l("您的订单已经发货", "你的订单已经发货了") < 1


def test_an_empty_answer_scores_zero() -> None:
    assert set(text_scores("hello there", "").values()) == {0.0}


def test_a_closer_answer_scores_higher_on_every_graded_metric() -> None:
    reference = "Your order was sent on Monday and arrives on Friday."
    near = text_scores(reference, "Your order was sent on Monday and arrives on Thursday.")
    far = text_scores(reference, "I cannot help with that.")
    assert all(near[metric] > far[metric] for metric in ("rouge_l", "bleu", "chrf"))
    assert near["exact_match"] == far["exact_match"] == 0


def test_an_answer_of_a_megabyte_is_scored_in_bounded_time() -> None:
    assert text_scores("word " * 200_000, "other " * 200_000)["exact_match"] == 0
