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


def visible(text: str) -> str:
    """`text` with control characters and bidirectional overrides written out as escape sequences."""
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


def code_block(text: str) -> str:
    """`text` as a fenced code block whose fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{visible(text)}\n{fence}"
