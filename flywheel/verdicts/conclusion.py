"""The sentences that a product manager reads first: who is surfaced, at what saving, or why nobody is."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.findings.analysis import Costs, Verdict
from flywheel.verdicts.noninferiority import points


def conclusion_of(
    verdicts: Sequence[Verdict],
    costs: Sequence[Costs] = (),
    failed: Sequence[str] = (),
    waiting: Sequence[str] = (),
) -> str:
    """What the verdicts come to, and what to do next.

    Args:
        failed: Candidates of which nothing could be evaluated.
        waiting: Candidates of which nothing is evaluated yet, since a window or a budget holds them back.
    """
    if not verdicts and waiting:
        text = f"No verdict yet: {', '.join(sorted(waiting))} could not begin, and the run can be resumed."
        return f"{text} Not evaluated: {', '.join(sorted(failed))}." if failed else text
    if not verdicts:
        return "No winner: nothing could be evaluated. The candidates' errors say why."
    surfaced = [verdict for verdict in verdicts if verdict.outcome == "surfaced"]
    if surfaced:
        text = _surfaced(surfaced, costs)
    else:
        undecided = [verdict for verdict in verdicts if verdict.outcome == "cannot_tell"]
        text = _undecided(undecided) if undecided else _no_winner(verdicts)
    if failed:
        text += f" Not evaluated: {', '.join(sorted(failed))}."
    if waiting:
        text += f" Not yet evaluated: {', '.join(sorted(waiting))}."
    return text


def _surfaced(surfaced: Sequence[Verdict], costs: Sequence[Costs]) -> str:
    cost_of = {(cost.candidate, cost.eval_type): cost for cost in costs}

    def preference(verdict: Verdict) -> tuple[float, float]:
        cost = cost_of.get((verdict.candidate, verdict.eval_type))
        price = cost.per_request if cost and cost.per_request is not None else float("inf")
        return price, -(verdict.score or 0.0)

    first, *others = sorted(surfaced, key=preference)
    margin = points(first.margin)
    text = (
        f"{_name(first)} can be considered: its score of {first.score:.3f} is not worse than production by more than "
        f"{margin}{_saving(cost_of.get((first.candidate, first.eval_type)))}."
    )
    if others:
        text += f" So can {', '.join(_name(verdict) for verdict in others)}."
    return f"{text} Next: a person goes through the checklist and decides."


def _saving(cost: Costs | None) -> str:
    if cost is None or cost.monthly_savings is None:
        return ""
    low, high = cost.monthly_savings.low, cost.monthly_savings.high
    if high <= 0:
        return f", but it would cost {money(-high)} to {money(-low)} {cost.currency} a month more"
    if low < 0:
        return (
            f", and between {money(-low)} more and {money(high)} {cost.currency} a month less would be spent"
        )
    return f", and it would save {money(low)} to {money(high)} {cost.currency} a month"


def _undecided(undecided: Sequence[Verdict]) -> str:
    best = max(undecided, key=lambda verdict: verdict.score or 0.0)
    return f"No winner yet. The closest is {_name(best)}. {best.reason}{_more(best)}"


def _more(verdict: Verdict) -> str:
    if verdict.items_needed is None:
        return ""
    return (
        f" Set data_split_config.eval_size to {verdict.items_needed}, with a log that holds enough records no run has "
        "trained on."
    )


def _no_winner(verdicts: Sequence[Verdict]) -> str:
    best = max(verdicts, key=lambda verdict: verdict.score or 0.0)
    return f"No winner. The closest is {_name(best)}. {best.reason}"


def _name(verdict: Verdict) -> str:
    return f"{verdict.candidate} ({verdict.eval_type})"


def money(amount: float) -> str:
    """An amount for people, at three digits: 0.0123, 12.3, 12,300."""
    if amount == 0 or abs(amount) >= 1000:
        digits = len(f"{abs(amount):.0f}") - 3
        return f"{round(amount, -max(0, digits)):,.0f}"
    return f"{amount:.3g}"
