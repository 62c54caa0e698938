"""Divergent answers for the page: worst first, each side in pieces, bounded so that a browser opens it at once."""

from __future__ import annotations

from typing import Any

from flywheel.report.difference import difference
from flywheel.report.divergent import scores_beside
from flywheel.report.escaping import shortened
from flywheel.report.evidence import Evidence

MOST_ITEMS = 400
MOST_CHARACTERS = 6_000
"""Of one text. 400 items of three such texts are 7 MB at worst."""


def listed_items(evidence: Evidence) -> tuple[list[dict[str, Any]], str]:
    """At most `MOST_ITEMS`, and a sentence about the rest; every evaluation gets its share of the room."""
    room = max(1, MOST_ITEMS // max(1, sum(bool(a.divergent) for a in evidence.answers)))
    chosen = [(a, answer) for a in evidence.answers for answer in a.divergent[:room]]
    chosen.sort(key=lambda entry: (-entry[1].severity, -entry[1].weight, entry[1].id, entry[0].candidate))
    items = []
    for answers, answer in chosen:
        reference, given = difference(
            shortened(answer.reference, MOST_CHARACTERS), shortened(answer.answer, MOST_CHARACTERS)
        )
        items.append(
            {
                "candidate": answers.candidate,
                "eval_type": answers.eval_type,
                "kind": answer.kind,
                "id": answer.id,
                "score": f"{answer.score:.2f}",
                "scored": scores_beside(answer),
                "weight": answer.weight,
                "prompt": shortened(answer.prompt, MOST_CHARACTERS),
                "reference": reference,
                "answer": given,
            }
        )
    rest = sum(len(a.divergent) for a in evidence.answers) - len(items)
    left_out = f"{rest} more are left out here; flywheel divergent lists all of them." if rest else ""
    return items, left_out
