"""Scores with and without the items on which production contradicts itself, for people."""

from __future__ import annotations

from flywheel.report.escaping import cell
from flywheel.report.numbers import figure
from flywheel.report.tables import Row
from flywheel.results import RunResult

CONTRADICTED_TITLE = "Items that production answered in more than one way"


def contradicted_rows(run: RunResult) -> list[Row]:
    """One row for each evaluation; none where no item is contradicted."""
    return [
        {
            "candidate": cell(one.candidate),
            "evaluation": one.eval_type,
            "metric": one.metric,
            "all items": figure(one.score, 3),
            "without them": figure(one.without, 3),
            "n without": one.n - one.items,
            "on them alone": figure(one.on_them, 3),
            "n": one.items,
        }
        for one in (run.analysis.contradicted if run.analysis else ())
    ]


def contradicted_remark(run: RunResult) -> str:
    """What share of the items it is and what follows; empty where none is."""
    found = run.analysis.contradicted if run.analysis else ()
    if not found:
        return ""
    items, of = found[0].contradicted, found[0].of
    one = items == 1
    return (
        f"{items} of {of} evaluation items ({items / of:.0%}) {'asks' if one else 'ask'} what production answered in "
        f"materially different ways elsewhere in the log: the reference of such an item may be the wrong one, and no "
        "candidate can agree with both. Scores with and without them are in the report."
    )
