"""Writing SVG by elements: every attribute and text is escaped, so text from a log stays text."""

from __future__ import annotations

import base64
import math

from markupsafe import Markup, escape

from flywheel.report.escaping import visible

WIDTH = 460
"""Of every chart, in its own units: legible on a phone, where that is about its width in pixels."""

STYLE = """
svg{font:12px system-ui,sans-serif}
svg text{fill:#1c2430}
svg .muted{fill:#5c6773}
svg .grid{stroke:#d8dde3;stroke-width:1}
svg .axis{stroke:#8a949e;stroke-width:1}
svg .track{fill:#edf0f3}
svg .whisker{stroke:#1c2430;stroke-width:1.5}
svg .front{stroke:#5c6773;stroke-width:1.5;stroke-dasharray:5 4;fill:none}
svg .ceiling,svg .target{stroke:#b3261e;stroke-width:1.5;stroke-dasharray:3 3}
svg .a{fill:#7a869a;stroke:#7a869a} svg .b{fill:#b7791f;stroke:#b7791f} svg .c{fill:#1667b7;stroke:#1667b7}
svg .p{fill:#b3261e;stroke:#b3261e}
svg .line{fill:none;stroke-width:2} svg .bar{stroke:none} svg .soft{fill-opacity:.35;stroke:none}
svg .band{fill-opacity:.15;stroke:none}
svg .label{fill:#fff;font-weight:600;stroke:none}
@media (prefers-color-scheme:dark){
svg text{fill:#e4e8ec} svg .muted{fill:#9aa6b2} svg .grid{stroke:#333c46} svg .axis{stroke:#6b7680}
svg .track{fill:#262e37} svg .whisker{stroke:#e4e8ec} svg .front{stroke:#9aa6b2}
svg .ceiling,svg .target{stroke:#ff8a80}
svg .a{fill:#9aa6b8;stroke:#9aa6b8} svg .b{fill:#e0a84e;stroke:#e0a84e} svg .c{fill:#6cb2f5;stroke:#6cb2f5}
svg .p{fill:#ff8a80;stroke:#ff8a80} svg .label{fill:#10151a}
}
"""
"""Colours of a chart, light and dark: `a` base-eval, `b` icl-eval, `c` customized-eval, `p` production."""


def el(name: str, *children: Markup | str, **attributes: object) -> Markup:
    """One element. `class_` and `text_anchor` become `class` and `text-anchor`; numbers are rounded."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(
        child if isinstance(child, Markup) else escape(visible(child)) for child in children
    )
    tag = Markup(name)  # names are ours
    return Markup("<{0}{1}>{2}</{0}>").format(tag, written, inner)


def chart(height: float, title: str, *children: Markup) -> Markup:
    """A whole chart; `title` is what a screen reader says."""
    return el(
        "svg",
        el("title", title),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {math.ceil(height)}",
        role="img",
        class_="chart",
    )


def standalone(drawing: Markup) -> Markup:
    """A chart that carries its own colours, for where it is shown as an image."""
    return Markup(
        str(drawing).replace("</title>", f"</title><style>{STYLE}</style>", 1)  # the first one is ours
    )


def as_image(drawing: Markup, words: str) -> str:
    """A chart as a Markdown image that holds itself; `words` is what is said where it is not shown."""
    data = base64.b64encode(standalone(drawing).encode()).decode()
    return f"![{words}](data:image/svg+xml;base64,{data})"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers that cover `low` to `high`, both finite, at most about `most` of them."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.floor(low / step)
    count = math.ceil(high / step - 1e-9) - first
    return [round((first + k) * step, 12) for k in range(count + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten that cover `low` to `high`, both above 0."""
    found = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        found += [factor * 10.0**power for factor in (1, 2, 5)]
    start = max((k for k, value in enumerate(found) if value <= low), default=0)
    end = min((k for k, value in enumerate(found) if value >= high), default=len(found) - 1)
    return found[start : end + 1]


def plain_number(value: float) -> str:
    """A tick's label: 0.25, 1,500, 2e-05."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _value(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
