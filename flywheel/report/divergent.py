"""Divergent answers side by side: what was asked, what production answered, what the candidate answered."""

from __future__ import annotations

from collections.abc import Sequence

from flywheel.evaluation.divergent import DivergentAnswer
from flywheel.report.escaping import cell
from flywheel.report.tables import Row

MOST_CHARACTERS = 600


def divergent_rows(found: Sequence[tuple[str, str, DivergentAnswer]], *, most: int) -> list[Row]:
    """At most `most` rows, worst first, of (candidate, evaluation, answer) triples."""
    ranked = sorted(found, key=lambda entry: (-entry[2].severity, entry[2].id, entry[0]))
    return [
        {
            "candidate": cell(candidate),
            "evaluation": evaluation,
            "difference": cell(answer.kind),
            "prompt": cell(answer.prompt, MOST_CHARACTERS),
            "reference answer": cell(answer.reference, MOST_CHARACTERS),
            "candidate's answer": cell(answer.answer, MOST_CHARACTERS),
            "item": cell(answer.id),
        }
        for candidate, evaluation, answer in ranked[:most]
    ]
