"""Which charts a run has, and what stands in them."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from flywheel.findings.analysis import Bounds
from flywheel.report import pareto
from flywheel.report.escaping import cell
from flywheel.report.evidence import Evidence
from flywheel.report.html import charts
from flywheel.report.numbers import figure, score_text
from flywheel.report.tables import primary_metric_of, primary_score
from flywheel.results import EVAL_TYPES, Customization, EpochScore, RunResult


def score_picture(run: RunResult) -> Markup | None:
    """A bar for each evaluation that was scored; None where none was."""
    bars = []
    for candidate in run.candidates:
        for evaluation in sorted(candidate.evaluations, key=lambda e: EVAL_TYPES.index(e.eval_type)):
            score = primary_score(evaluation)
            if score is None:
                continue
            interval = Bounds(score.interval.low, score.interval.high) if score.interval else None
            text = f"{score_text(score)} · n {score.n}" + (
                f", {score.unscored} unscored" if score.unscored else ""
            )
            bars.append(
                charts.Bar(
                    f"{candidate.candidate} {evaluation.eval_type}",
                    evaluation.eval_type,
                    score.value,
                    interval,
                    text,
                )
            )
    ceiling = pareto.measured_ceiling(run)
    return charts.score_bars(bars, ceiling.value if ceiling else None) if bars else None


def pareto_pictures(run: RunResult, evidence: Evidence) -> list[dict[str, Any]]:
    """Quality against money, or against tokens where there are no prices; and against latency."""
    pictures = []
    for against in _worth_showing(run, evidence):
        places = pareto.places(run, evidence, against)
        if not places:
            continue
        best = pareto.front(places)
        points = [charts.Point(number, *place) for number, place in enumerate(places, 1)]
        pictures.append(
            {
                "chart": charts.pareto(
                    points, [number + 1 for number in best], _title(run, against), primary_metric_of(run)
                ),
                "rows": [
                    {
                        "": "P" if place.kind == "production" else str(number),
                        "way of answering": cell(place.label),
                        pareto.TITLES[against]: _with_interval(place.x, place.x_interval, against),
                        "quality": f"{place.y:.3f}",
                        "worth a look": "yes" if number - 1 in best else "",
                    }
                    for number, place in enumerate(places, 1)
                ],
            }
        )
    return pictures


def latency_picture(evidence: Evidence) -> Markup | None:
    """A row for each evaluation whose latencies are known."""
    spreads = [
        charts.Spread(f"{a.candidate} {a.eval_type}", a.eval_type, a.latencies)
        for a in evidence.answers
        if a.latencies
    ]
    return charts.latency_rows(spreads) if spreads else None


def training_pictures(run: RunResult) -> list[dict[str, Any]]:
    """A curve and the figures of each fine-tune."""
    return [
        {
            "title": candidate.candidate,
            "chart": _curve(candidate.customization),
            "rows": _training_rows(candidate.customization),
        }
        for candidate in run.candidates
        if candidate.customization is not None
    ]


def _curve(tuned: Customization) -> Markup | None:
    train = [(point.step, point.train) for point in tuned.losses if point.train is not None]
    held_out = [(point.step, point.validation) for point in tuned.losses if point.validation is not None]
    curves = []
    if train:
        curves.append(charts.Curve("training", "a", train))
    if held_out:
        curves.append(charts.Curve("validation", "c", held_out))
    return charts.training_curves(curves) if curves else None


def _training_rows(tuned: Customization) -> list[dict[str, str]]:
    rows = [
        {"figure": "state", "value": tuned.status},
        {"figure": "rows trained", "value": f"{tuned.train_rows:,}"},
        {"figure": "rows left out", "value": f"{tuned.skipped_rows:,}" + _reasons(tuned.skipped)},
        {"figure": "training loss", "value": figure(tuned.train_loss, 3)},
        {"figure": "validation loss", "value": figure(tuned.val_loss, 3)},
        {"figure": "tokens", "value": f"{tuned.tokens:,}"},
        {"figure": "seconds", "value": figure(tuned.runtime_seconds, 0)},
        {"figure": "seconds in the queue", "value": figure(tuned.queued_seconds, 0)},
    ]
    for what, where in (("fine-tuned model", tuned.model), ("adapter", tuned.adapter)):
        if where:
            rows.append({"figure": what, "value": cell(where, 1000)})
    if tuned.kept_epoch:
        rows.append({"figure": "epoch that is kept", "value": str(tuned.kept_epoch)})
    rows += [_epoch_row(scored, tuned.kept_epoch) for scored in tuned.epoch_scores]
    if tuned.cut:
        rows.append({"figure": "cut", "value": cell(tuned.cut, 1000)})
    rows += [{"figure": "note", "value": cell(note, 1000)} for note in tuned.notes]
    if not tuned.losses:
        rows.append({"figure": "curve", "value": "the platform kept no losses by step"})
    if tuned.error:
        rows.append({"figure": "error", "value": cell(tuned.error, 1000)})
    return rows


def _epoch_row(scored: EpochScore, kept: int) -> dict[str, str]:
    loss = "" if scored.val_loss is None else f", validation loss {figure(scored.val_loss, 3)}"
    return {
        "figure": f"{scored.metric} of validation answers after epoch {scored.epoch}",
        "value": f"{score_text(scored.score)}, n {scored.score.n}, {scored.score.unscored} unscored"
        + loss
        + (" (kept)" if scored.epoch == kept else ""),
    }


def _worth_showing(run: RunResult, evidence: Evidence) -> list[pareto.Against]:
    priced = bool(pareto.places(run, evidence, "cost"))
    return ["cost" if priced else "tokens", "latency"]


def _title(run: RunResult, against: pareto.Against) -> str:
    if against != "cost" or run.analysis is None:
        return pareto.TITLES[against]
    currency = next((cost.currency for cost in run.analysis.costs), "")
    return f"{pareto.TITLES[against]}, {currency}"


def _with_interval(value: float, interval: Bounds | None, against: pareto.Against) -> str:
    digits = 3 if against == "cost" else 0
    text = f"{value:,.{digits}f}"
    return f"{text} [{interval.low:,.{digits}f}, {interval.high:,.{digits}f}]" if interval else text


def _reasons(skipped: dict[str, int]) -> str:
    return (
        f" ({', '.join(f'{cell(reason, 80)}: {count}' for reason, count in skipped.items())})"
        if skipped
        else ""
    )
