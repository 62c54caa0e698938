"""Divergent answers side by side: what was asked, what production answered, what the candidate answered."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.evaluation.divergent import DivergentAnswer
from flywheel.report.difference import bracketed, difference
from flywheel.report.escaping import cell, shortened
from flywheel.report.tables import Row

MOST_CHARACTERS = 600


def divergent_rows(found: Sequence[tuple[str, str, DivergentAnswer]], *, most: int) -> list[Row]:
    """At most `most` rows, worst first, of (candidate, evaluation, answer) triples; ⟦what differs⟧ is in brackets."""
    ranked = sorted(found, key=lambda entry: (-entry[2].severity, -entry[2].weight, entry[2].id, entry[0]))
    return [_row(candidate, evaluation, answer) for candidate, evaluation, answer in ranked[:most]]


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
        "calls": answer.weight,
        "item": cell(answer.id),
    }
