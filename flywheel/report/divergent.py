"""Divergent answers side by side: what was asked, what production answered, what the candidate answered."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.evaluation.divergent import DivergentAnswer
from flywheel.report.difference import bracketed, difference
from flywheel.report.escaping import cell, shortened
from flywheel.report.numbers import figure
from flywheel.report.tables import Row, without_empty

MOST_CHARACTERS = 600
SCORED = "scored"
"""Column of the scores of a judge and of the user's own metrics."""


def divergent_rows(found: Sequence[tuple[str, str, DivergentAnswer]], *, most: int) -> list[Row]:
    """At most `most` rows, worst first, of (candidate, evaluation, answer) triples; ⟦what differs⟧ is in brackets."""
    ranked = sorted(found, key=lambda entry: (-entry[2].severity, -entry[2].weight, entry[2].id, entry[0]))
    rows = [_row(candidate, evaluation, answer) for candidate, evaluation, answer in ranked[:most]]
    return without_empty(rows, SCORED)


def scores_beside(answer: DivergentAnswer) -> str:
    """The scores that no program of ours gave, a judge's and those of metrics of the user's own; empty without any."""
    return ", ".join(f"{name} {figure(score)}" for name, score in sorted(answer.scores.items()))


def _row(candidate: str, evaluation: str, answer: DivergentAnswer) -> Row:
    reference, given = difference(
        shortened(answer.reference, MOST_CHARACTERS), shortened(answer.answer, MOST_CHARACTERS)
    )
    return {
        "candidate": cell(candidate),
        "evaluation": evaluation,
        "difference": cell(answer.kind),
        "prompt": cell(answer.prompt, MOST_CHARACTERS),
        "reference answer": cell(bracketed(reference), 2 * MOST_CHARACTERS),
        "candidate's answer": cell(bracketed(given), 2 * MOST_CHARACTERS),
        SCORED: cell(scores_beside(answer)),
        "calls": answer.weight,
        "item": cell(answer.id),
    }
