"""Text that came from a log or a model, made safe to show.

Nothing in it may run, link, break a table or steer a terminal, and a reader must still see what it says.
"""

from __future__ import annotations

import html
import re

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~>$])")
_CONTROL = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
} | {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)}
_CONTROL |= {
    code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)
}  # half a pair: no UTF-8, and no JSON, has it

_JOINER = "\u2060"  # "word joiner": no width, and no line break at it
_BEGINS_MARKUP = re.compile(r"([<\]&\\!]|:(?=//)|\bwww(?=\.)|@)")
_LONE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LOOKS_THE_SAME = {ord("*"): "\u2217", ord("`"): "\u02cb", ord("~"): "\u223c"}


def visible(text: str) -> str:
    """`text` with control characters, bidirectional overrides and halves of surrogate pairs as escape sequences."""
    return text.translate(_CONTROL)


def shortened(text: str, most: int) -> str:
    """`text` cut to at most `most` characters, with a mark where it was cut."""
    return text if len(text) <= most else text[: max(0, most - 1)] + "…"


def cell(text: str, most: int = 300) -> str:
    """`text` for a plain-text table cell: one line, visible, bounded."""
    return shortened(visible(" ".join(text.split())), most)


def markdown(text: str) -> str:
    """`text` as inline Markdown that shows exactly itself: no markup, HTML, link or table delimiter survives."""
    return _MARKDOWN.sub(r"\\\1", html.escape(visible(" ".join(text.split())), quote=False))


def code(text: str) -> str:
    """`text` as inline code in Markdown: one line whose fence is longer than any run of backticks inside."""
    inside = visible(" ".join(text.split()))
    fence = "`" * (_longest_run_of_backticks(inside) + 1)
    padding = " " if "`" in inside else ""
    return f"{fence}{padding}{inside}{padding}{fence}"


def table_text(text: str) -> str:
    """`text` for a cell of a Prefect table, or a description: one of its two UIs shows them as they are, the other
    renders Markdown and lets links to scripts and images from elsewhere through.

    So nothing can be escaped, and what would begin markup is parted by an invisible character (or, where that is not
    enough, replaced by a letter that looks the same). A reader sees the text itself in both.
    """
    text = _BEGINS_MARKUP.sub(f"\\1{_JOINER}", text.translate(_LOOKS_THE_SAME))
    text = _LONE_UNDERSCORE.sub(f"{_JOINER}_{_JOINER}", text)
    return text if not text or text[0].isalpha() else _JOINER + text


def code_block(text: str) -> str:
    """`text` as a fenced code block whose fence is longer than any run of backticks inside."""
    fence = "`" * max(3, _longest_run_of_backticks(text) + 1)
    return f"{fence}text\n{visible(text)}\n{fence}"


def _longest_run_of_backticks(text: str) -> int:
    return max(map(len, re.findall(r"`+", text)), default=0)
