"""Divergent answers as an evaluation set of their own: what the models found hard, asked again in later runs."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flywheel.report.evidence import AnswersOf, Evidence
from flywheel.results import EvalItem


def chosen_answers(
    evidence: Evidence, candidate: str | None = None, eval_type: str | None = None
) -> list[AnswersOf]:
    """The evaluations that are asked for, each with its divergent answers."""
    return [
        answers
        for answers in evidence.answers
        if candidate in (None, answers.candidate) and eval_type in (None, answers.eval_type)
    ]


def specialist_items(evidence: Evidence, answers: Iterable[AnswersOf]) -> list[EvalItem]:
    """The items that any of these evaluations answered differently, worst first, each once."""
    ranked = sorted(
        (answer for of in answers for answer in of.divergent),
        key=lambda answer: (-answer.severity, -answer.weight, answer.id),
    )
    return [evidence.items[name] for name in dict.fromkeys(answer.id for answer in ranked)]


def as_lines(items: Iterable[EvalItem]) -> bytes:
    """Rows of an `eval_data.jsonl`, one a line."""
    return b"".join(msgspec.json.encode(item) + b"\n" for item in items)
