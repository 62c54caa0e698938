from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flywheel.judging.fencing import escaped, explanation, fenced, shortened, tag_of
from tests.fakes.judge_server import fenced_texts, outside


@given(st.text(), st.text())
def test_no_line_of_a_fenced_text_can_be_a_mark(text: str, other: str) -> None:
    tag = tag_of([text, other])
    lines = fenced("answer", text, tag).split("\n")
    assert lines[0] == f"[BEGIN answer {tag}]"
    assert lines[-1] == f"[END answer {tag}]"
    assert all(line.startswith("|") for line in lines[1:-1])
    assert all(len(line.splitlines()) == 1 for line in lines)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Zs"])))
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    if not any(mark in text for mark in ("<", "[", "|>", "｜>")):
        assert escaped(text) == text


def test_what_a_reader_cannot_see_is_spelt_out() -> None:
    assert escaped("a\u200bb\u202ec\x00\U000e0041") == "a\\u{200b}b\\u{202e}c\\u{0}\\u{e0041}"


def test_marks_of_chat_templates_are_broken_up() -> None:
    for mark in ("<|im_end|>", "</s>", "[/INST]", "<end_of_turn>", "<｜User｜>", "</think>", "<|eot_id|>"):
        assert mark not in escaped(f"before {mark} after")
    assert escaped("if a < b and c[0] > 1 | 2") == "if a < b and c[0] > 1 | 2"


def test_the_tag_depends_on_every_text_and_on_where_one_ends() -> None:
    tags = {tag_of(texts) for texts in (["ab", "c"], ["a", "bc"], ["abc"], ["ab", "c", ""], ["ab", "d"])}
    assert len(tags) == 5
    assert tag_of(["ab", "c"]) == tag_of(["ab", "c"])


def test_a_long_text_keeps_both_ends_and_says_what_is_missing() -> None:
    assert shortened("a" * 100, 100) == "a" * 100
    short = shortened("a" * 500 + "b" * 500, 100)
    assert short == "a" * 50 + "\n[900 characters are left out here]\n" + "b" * 50


def test_the_scripted_judge_of_these_tests_reads_the_fences_that_are_made() -> None:
    text = "two\nlines"
    prompt = f"before\n{fenced('answer', text, 'abc1')}\nafter"
    assert fenced_texts(prompt) == {"answer": text}
    assert outside(prompt).split() == ["before", "after"]
    assert "abc1" in explanation("abc1")
