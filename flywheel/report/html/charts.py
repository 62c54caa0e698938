"""The report's charts, as SVG. Text is laid out above the bars, so that long names fit on a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from flywheel.evaluation.aggregate import percentile
from flywheel.findings.analysis import Bounds
from flywheel.report.escaping import cell
from flywheel.report.html.svg import WIDTH, chart, el, log_ticks, plain_number, ticks
from flywheel.report.numbers import milliseconds

COLOURS = {"base-eval": "a", "icl-eval": "b", "customized-eval": "c", "production": "p"}
ROW = 40
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 10, 34


class Bar(NamedTuple):
    """One score with its interval, in [0, 1]."""

    label: str
    kind: str
    value: float | None
    interval: Bounds | None
    text: str


class Point(NamedTuple):
    """One way of answering: `x` is what it costs, `y` how good it is, each with an interval where known."""

    number: int
    label: str
    kind: str
    x: float
    y: float
    x_interval: Bounds | None
    y_interval: Bounds | None


class Spread(NamedTuple):
    """Latencies of one evaluation in milliseconds, ascending."""

    label: str
    kind: str
    values: Sequence[float]


class Curve(NamedTuple):
    """(step, loss) pairs of one line."""

    name: str
    kind: str
    points: Sequence[tuple[int, float]]


def score_bars(bars: Sequence[Bar], ceiling: float | None = None) -> Markup:
    """Scores from 0 to 1 with whiskers for their intervals; the ceiling as a dashed line."""
    parts: list[Markup] = []
    for number, bar in enumerate(bars):
        top = number * ROW
        parts.append(_caption(top, bar.label, bar.text))
        parts.append(el("rect", x=0, y=top + 19, width=WIDTH, height=13, class_="track"))
        if bar.value is not None:
            parts.append(
                el(
                    "rect",
                    x=0,
                    y=top + 19,
                    width=WIDTH * _within(bar.value),
                    height=13,
                    class_=f"bar {COLOURS.get(bar.kind, 'a')}",
                )
            )
        if bar.interval is not None:
            low, high = (WIDTH * _within(value) for value in (bar.interval.low, bar.interval.high))
            parts.append(_whisker(low, high, top + 25.5))
    height = len(bars) * ROW
    if ceiling is not None:
        place = WIDTH * _within(ceiling)
        rows = [number * ROW for number in range(len(bars))]
        parts += [el("line", x1=place, x2=place, y1=top + 17, y2=top + 34, class_="ceiling") for top in rows]
    for value in (0, 0.25, 0.5, 0.75, 1):
        anchor = "start" if value == 0 else "end" if value == 1 else "middle"
        parts.append(
            el(
                "text",
                plain_number(value),
                x=WIDTH * value,
                y=height + 14,
                text_anchor=anchor,
                class_="muted",
            )
        )
    return chart(height + 18, "Scores with their intervals", *parts)


def pareto(points: Sequence[Point], front: Sequence[int], x_title: str, y_title: str) -> Markup:
    """Quality (up is better) against cost (left is better), the undominated points joined by a dashed line."""
    top, bottom, height = _TOP + 16, 286, 326
    lows = [p.x_interval.low if p.x_interval else p.x for p in points]
    highs = [p.x_interval.high if p.x_interval else p.x for p in points]
    low, high = min(lows), max(highs)
    logarithmic = low > 0 and high / low > 20
    marks = log_ticks(low, high) if logarithmic else ticks(0.0, high)
    first, last = marks[0], max(marks[-1], high)

    def across(value: float) -> float:
        if logarithmic:
            part = (math.log(value) - math.log(first)) / ((math.log(last) - math.log(first)) or 1)
        else:
            part = (value - first) / ((last - first) or 1)
        return _LEFT + 8 + _within(part) * (WIDTH - _LEFT - _RIGHT - 8)

    def up(value: float) -> float:
        return bottom - _within(value) * (bottom - top)

    parts = [_level(up(value), plain_number(value)) for value in (0, 0.25, 0.5, 0.75, 1)]
    shown = marks[:: max(1, len(marks) // 6)]
    parts += [
        el(
            "text",
            plain_number(m),
            x=across(m),
            y=bottom + 15,
            text_anchor="end"
            if across(m) > WIDTH - 2 * _RIGHT
            else "middle",  # a long number would be cut off
            class_="muted",
        )
        for m in shown
    ]
    parts.append(el("text", x_title, x=WIDTH - _RIGHT, y=height - 6, text_anchor="end", class_="muted"))
    parts.append(el("text", y_title, x=0, y=_TOP + 2, class_="muted"))
    path = sorted((across(p.x), up(p.y)) for p in points if p.number in front)
    if len(path) > 1:
        parts.append(el("path", d=_steps(path), class_="front"))
    for point in points:
        parts += _marker(point, across, up)
    return chart(height, f"{y_title} against {x_title}", *parts)


def latency_rows(spreads: Sequence[Spread]) -> Markup:
    """For each evaluation: the middle half as a box, 5 to 95 % as a line, the median as a tick; one log scale."""
    every = [value for spread in spreads for value in (spread.values[0], spread.values[-1])]
    marks = log_ticks(max(0.1, min(every)), max(0.2, *every))
    first, last = math.log(marks[0]), math.log(marks[-1])

    def across(value: float) -> float:
        return WIDTH * _within((math.log(max(value, 0.1)) - first) / ((last - first) or 1))

    parts: list[Markup] = []
    for number, spread in enumerate(spreads):
        top = number * ROW
        p5, p25, p50, p75, p95 = (percentile(spread.values, q) or 0.0 for q in (0.05, 0.25, 0.5, 0.75, 0.95))
        parts.append(
            _caption(
                top,
                spread.label,
                f"p50 {milliseconds(p50)} · p95 {milliseconds(p95)} · n {len(spread.values)}",
            )
        )
        colour = COLOURS.get(spread.kind, "a")
        parts.append(el("rect", x=0, y=top + 19, width=WIDTH, height=13, class_="track"))
        parts.append(
            el(
                "rect",
                x=across(p25),
                y=top + 19,
                width=max(1.0, across(p75) - across(p25)),
                height=13,
                class_=f"bar {colour}",
            )
        )
        parts.append(_whisker(across(p5), across(p95), top + 25.5))
        parts.append(el("line", x1=across(p50), x2=across(p50), y1=top + 17, y2=top + 34, class_="whisker"))
    height = len(spreads) * ROW
    shown = marks[:: max(1, math.ceil(len(marks) / 6))]
    for mark in shown:
        place = across(mark)
        anchor = "start" if place < 20 else "end" if place > WIDTH - 30 else "middle"
        parts.append(
            el("text", milliseconds(mark), x=place, y=height + 14, text_anchor=anchor, class_="muted")
        )
    return chart(height + 18, "Latency of the answers", *parts)


def training_curves(curves: Sequence[Curve]) -> Markup:
    """Loss by optimiser step."""
    bottom, height = 180, 214
    steps = [step for curve in curves for step, _ in curve.points]
    losses = [loss for curve in curves for _, loss in curve.points]
    marks = ticks(0.0, max(losses) or 1.0, 4)
    most = max(steps) or 1

    def across(step: float) -> float:
        return _LEFT + step / most * (WIDTH - _LEFT - _RIGHT)

    def up(loss: float) -> float:
        return bottom - _within(loss / marks[-1]) * (bottom - _TOP)

    parts = [_level(up(value), plain_number(value)) for value in marks]
    parts += [
        el("text", plain_number(step), x=across(step), y=bottom + 15, text_anchor="middle", class_="muted")
        for step in ticks(0.0, most)
        if step <= most
    ]
    parts.append(
        el("text", "optimiser step", x=WIDTH - _RIGHT, y=height - 4, text_anchor="end", class_="muted")
    )
    for number, curve in enumerate(curves):
        places = [(across(step), up(loss)) for step, loss in curve.points]
        parts.append(
            el(
                "polyline",
                points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places),
                class_=f"line {curve.kind}",
            )
        )
        if len(places) <= 30:
            parts += [el("circle", cx=x, cy=y, r=2.5, class_=curve.kind) for x, y in places]
        parts.append(
            el("rect", x=_LEFT + 10 + 130 * number, y=_TOP, width=10, height=10, class_=f"bar {curve.kind}")
        )
        parts.append(el("text", curve.name, x=_LEFT + 25 + 130 * number, y=_TOP + 9))
    return chart(height, "Loss while fine-tuning", *parts)


def funnel_bars(rows: Sequence[tuple[str, int]]) -> Markup:
    """How many records each step has or takes, as bars from a common zero."""
    most = max((count for _, count in rows), default=0) or 1
    parts: list[Markup] = []
    for number, (label, count) in enumerate(rows):
        top = number * 30
        parts.append(_caption(top, label, f"{count:,}"))
        parts.append(el("rect", x=0, y=top + 18, width=WIDTH, height=7, class_="track"))
        parts.append(el("rect", x=0, y=top + 18, width=WIDTH * count / most, height=7, class_="bar c"))
    return chart(max(30, len(rows) * 30), "Where the records went", *parts)


def _marker(point: Point, across: object, up: object) -> list[Markup]:
    assert callable(across)
    assert callable(up)
    x, y = across(point.x), up(point.y)
    colour = COLOURS.get(point.kind, "a")
    parts = []
    if point.y_interval:
        low, high = up(point.y_interval.low), up(point.y_interval.high)
        parts.append(el("line", x1=x, x2=x, y1=low, y2=high, class_="whisker"))
    if point.x_interval:
        low, high = across(point.x_interval.low), across(point.x_interval.high)
        parts.append(el("line", x1=low, x2=high, y1=y, y2=y, class_="whisker"))
    parts.append(el("circle", el("title", cell(point.label)), cx=x, cy=y, r=9, class_=colour))
    name = "P" if point.kind == "production" else str(point.number)
    parts.append(el("text", name, x=x, y=y + 4, text_anchor="middle", class_="label"))
    return parts


def _caption(top: float, label: str, value: str) -> Markup:
    room = max(12, 62 - len(value))
    return el("text", cell(label, room), x=0, y=top + 13) + el(
        "text", value, x=WIDTH, y=top + 13, text_anchor="end", class_="muted"
    )


def _whisker(low: float, high: float, y: float) -> Markup:
    ends = [el("line", x1=x, x2=x, y1=y - 4, y2=y + 4, class_="whisker") for x in (low, high)]
    return el("line", x1=low, x2=high, y1=y, y2=y, class_="whisker") + ends[0] + ends[1]


def _level(y: float, label: str) -> Markup:
    return el("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="grid") + el(
        "text", label, x=_LEFT - 6, y=y + 4, text_anchor="end", class_="muted"
    )


def _steps(places: Sequence[tuple[float, float]]) -> str:
    """Right, then up: between two neighbours nothing better than the left one is to be had."""
    path = f"M{places[0][0]:.1f},{places[0][1]:.1f}"
    return path + "".join(f"H{x:.1f}V{y:.1f}" for x, y in places[1:])


def _within(part: float) -> float:
    return min(1.0, max(0.0, part))
