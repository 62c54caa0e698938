"""The picture of a cascade: share of the traffic kept against the score of what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from flywheel.findings.cascades import Cascade
from flywheel.report.cascade_tables import cascade_currency, curve_rows
from flywheel.report.escaping import cell
from flywheel.report.html.svg import WIDTH, chart, el, plain_number
from flywheel.results import RunResult

COLOURS = {"answer class": "c", "request length": "a", "confidence": "b"}
_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 46, 14, 30, 236, 274


def cascade_pictures(run: RunResult) -> list[dict[str, Any]]:
    """A picture for each evaluation that has a curve, with the same in figures."""
    cascades = run.analysis.cascades if run.analysis else []
    currency = cascade_currency(run)
    pictures = []
    for (candidate, eval_type), group in groupby(cascades, key=lambda c: (c.candidate, c.eval_type)):
        curves = list(group)
        title = f"{cell(candidate, 80)} {eval_type}"
        pictures.append(
            {"title": title, "chart": cascade_chart(curves, title), "rows": curve_rows(curves, currency)}
        )
    return pictures


def cascade_chart(cascades: Sequence[Cascade], title: str) -> Markup:
    """A line for each signal with the band of its intervals; what must be kept up as a dashed line.

    The dot is what a cut came to on items that it was not chosen on, with its intervals.
    """
    parts = [_across_line(value) for value in (0, 0.25, 0.5, 0.75, 1)]
    parts += [
        el(
            "text",
            f"{100 * value:.0f} %",
            x=_across(value),
            y=_BOTTOM + 15,
            text_anchor="end" if value == 1 else "middle",
            class_="muted",
        )
        for value in (0, 0.25, 0.5, 0.75, 1)
    ]
    parts.append(
        el(
            "text",
            "share of the traffic kept",
            x=WIDTH - _RIGHT,
            y=_HEIGHT - 6,
            text_anchor="end",
            class_="muted",
        )
    )
    for number, cascade in enumerate(cascades):
        colour = COLOURS.get(cascade.signal, "a")
        parts += _curve(cascade, colour)
        parts.append(el("rect", x=_LEFT + 135 * number, y=4, width=10, height=10, class_=f"bar {colour}"))
        parts.append(el("text", cascade.signal, x=_LEFT + 15 + 135 * number, y=13))
    for target in {cascade.target for cascade in cascades}:
        parts.append(el("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=_up(target), y2=_up(target), class_="target"))
    for cascade in cascades:
        parts += _chosen(cascade, COLOURS.get(cascade.signal, "a"))
    return chart(_HEIGHT, f"Share of the traffic kept against the score of what is kept: {title}", *parts)


def _curve(cascade: Cascade, colour: str) -> list[Markup]:
    points = [
        (point.share, point.quality, point.interval) for point in cascade.points if point.quality is not None
    ]
    upper = [f"{_across(share):.1f},{_up(i.high):.1f}" for share, _, i in points if i]
    lower = [f"{_across(share):.1f},{_up(i.low):.1f}" for share, _, i in reversed(points) if i]
    line = [f"{_across(share):.1f},{_up(quality or 0.0):.1f}" for share, quality, _ in points]
    return [
        el("polygon", points=" ".join(upper + lower), class_=f"band {colour}"),
        el("polyline", points=" ".join(line), class_=f"line {colour}"),
    ]


def _chosen(cascade: Cascade, colour: str) -> list[Markup]:
    chosen = cascade.chosen
    if chosen is None or chosen.quality is None or cascade.outcome not in ("useful", "everything"):
        return []
    x, y = _across(chosen.share), _up(chosen.quality)
    parts = []
    if chosen.interval:
        low, high = _up(chosen.interval.low), _up(chosen.interval.high)
        parts.append(el("line", x1=x, x2=x, y1=low, y2=high, class_="whisker"))
    if cascade.chosen_share:
        left, right = _across(cascade.chosen_share.low), _across(cascade.chosen_share.high)
        parts.append(el("line", x1=left, x2=right, y1=y, y2=y, class_="whisker"))
    words = f"{cascade.signal}: keeps {100 * chosen.share:.0f} % at {chosen.quality:.3f}"
    return [*parts, el("circle", el("title", words), cx=x, cy=y, r=5, class_=colour)]


def _across(share: float) -> float:
    return _LEFT + min(1.0, max(0.0, share)) * (WIDTH - _LEFT - _RIGHT)


def _up(quality: float) -> float:
    return _BOTTOM - min(1.0, max(0.0, quality)) * (_BOTTOM - _TOP)


def _across_line(quality: float) -> Markup:
    y = _up(quality)
    return el("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="grid") + el(
        "text", plain_number(quality), x=_LEFT - 6, y=y + 4, text_anchor="end", class_="muted"
    )
