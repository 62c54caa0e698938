"""Hostile text shows as text, in Markdown, in tables, in the terminal."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.report.escaping import cell, code, code_block, markdown, shortened, table_text, visible

HOSTILE = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/pixel.png)",
    "| a | b |",
    "**bold** _it_ `code` # title",
    "\x1b[31mred\x1b[0m \x07",
    "<img src=x onerror=alert(1)>",
    "```\nfence\n```",
    "safe \u202etxt.exe",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_loses_every_live_delimiter_in_markdown(text: str) -> None:
    shown = markdown(text)
    assert "<" not in shown
    assert not re.search(r"(?<!\\)[\[\]|`*_]", shown)
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@given(st.text())
def test_markdown_shows_exactly_the_text_on_one_line(text: str) -> None:
    without_backslashes = re.sub(r"\\(.)", r"\1", markdown(text))
    expected = visible(" ".join(text.split()))
    assert html.unescape(without_backslashes) == html.unescape(re.sub(r"\\(.)", r"\1", markdown(expected)))
    assert "\n" not in markdown(text)


@given(st.text())
def test_visible_text_holds_no_control_character_but_line_feed_and_tab(text: str) -> None:
    assert not [c for c in visible(text) if (ord(c) < 0x20 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0]


@given(st.text(alphabet="`a\n", max_size=50))
def test_a_fence_is_longer_than_any_run_of_backticks_inside(text: str) -> None:
    block = code_block(text)
    fence = block.splitlines()[0].removesuffix("text")
    assert fence not in text
    assert block.endswith(fence)


@given(st.text(alphabet="`a \n", max_size=50).filter(str.strip))
def test_inline_code_is_one_line_that_nothing_inside_ends(text: str) -> None:
    shown, inside = code(text), " ".join(text.split())
    fence = next(run for run in re.findall(r"`+", shown) if run not in inside)
    assert shown.startswith(fence)
    assert shown.endswith(fence)
    assert shown[len(fence) : -len(fence)].strip() == inside


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_shortened_text_is_never_longer_than_asked(text: str, most: int) -> None:
    assert len(shortened(text, most)) <= most
    assert shortened(text, 10_000) == text


def test_a_cell_is_one_bounded_line() -> None:
    assert cell("a\n b\tc " + "x" * 1000, 10) == "a b c xxx…"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_table_cell_of_the_prefect_ui_begins_no_markup_and_reads_the_same(text: str) -> None:
    shown = table_text(text)
    assert not re.search(r"<[A-Za-z/!?]|\]\(|\]:|!\[|&\w|[*`~]|://|javascript:[^)]*\]\(", shown)
    looks = {"\u2060": "", "\u2217": "*", "\u02cb": "`", "\u223c": "~"}
    assert "".join(looks.get(letter, letter) for letter in shown) == text


def test_names_of_metrics_and_ids_can_be_copied_from_a_cell() -> None:
    for text in ("function_name_and_args_accuracy", "customized-eval", "log-06b41f94e3c8"):
        assert table_text(text) == text
