"""Names from foreign text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.naming import slug, slug_of


@given(st.text(), st.integers(16, 100))
def test_a_slug_is_safe_and_short_for_any_text(text: str, most: int) -> None:
    name = slug(text, most)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert len(name) <= most


@given(st.text(), st.text())
def test_different_texts_keep_different_slugs(left: str, right: str) -> None:
    assert (slug(left) == slug(right)) == (left == right)


@given(st.text())
def test_a_slug_of_a_slug_is_itself(text: str) -> None:
    assert slug(slug(text)) == slug(text)


@pytest.mark.parametrize("text", ["support-router", "base-eval", "a", "42"])
def test_a_plain_name_stays(text: str) -> None:
    assert slug(text) == text


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("../../etc/passwd", "etc-passwd-"),
        ("a/b c:ü", "a-b-c-u-"),
        ("<script>", "script-"),
        ("Support", "support-"),
    ],
)
def test_what_can_be_read_is_kept(text: str, start: str) -> None:
    assert re.fullmatch(start + "[0-9a-f]{8}", slug(text))


def test_text_without_a_single_safe_character_gets_a_name() -> None:
    assert re.fullmatch("[0-9a-f]{8}", slug("谢谢"))
    assert re.fullmatch("[0-9a-f]{8}", slug(""))
    assert re.fullmatch("[0-9a-f]{8}", slug("\ud800"))


def test_too_little_room_is_refused() -> None:
    with pytest.raises(ValueError, match="16"):
        slug("anything", 8)


@given(
    st.lists(st.text("ab-\0/", max_size=4), min_size=2, max_size=2),
    st.lists(st.text("ab-\0/", max_size=4), min_size=2, max_size=2),
)
def test_a_name_of_several_texts_is_of_these_alone(left: list[str], right: list[str]) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug_of(*left))
    assert (slug_of(*left) == slug_of(*right)) == (left == right)


def test_a_name_of_several_texts_can_be_read_and_stays_the_same() -> None:
    assert slug_of("support-router", "acme-web") == "support-router-acme-web-1e1f6c9c"
    assert len(slug_of("w" * 500, "c" * 500)) <= 60
