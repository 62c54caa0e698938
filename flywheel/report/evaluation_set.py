"""What should be known of the items that scores are over: how worn they are, what is not as one would expect."""

from __future__ import annotations

from flywheel.findings.analysis import Holdout
from flywheel.report.contradicted import contradicted_remark
from flywheel.report.drift import drift_remark
from flywheel.results import RunResult


def remarks(run: RunResult) -> list[str]:
    """Sentences, the state of the kept evaluation set first; not escaped."""
    if run.analysis is None:
        return []
    return [
        *(_of_holdout(run.analysis.holdout) if run.analysis.holdout else []),
        *(remark for remark in (drift_remark(run), contradicted_remark(run)) if remark),
        *run.analysis.notes,
    ]


def _of_holdout(holdout: Holdout) -> list[str]:
    used = "once" if holdout.uses == 1 else f"{holdout.uses} times"
    budget = f" of at most {holdout.budget}" if holdout.budget is not None else ""
    fresh = f", beside {holdout.fresh_items} of new traffic" if holdout.fresh_items else ""
    told = [f"The kept evaluation set has {holdout.items} items{fresh}. It has been used {used}{budget}."]
    if holdout.renewed:
        told.append("It is new in this run: the one before it was worn out, stale, or did not fit any more.")
    if holdout.not_in_log:
        told.append(
            f"{holdout.not_in_log} of its items are not in the log any more; they were asked all the same."
        )
    if holdout.held_back:
        told.append(
            f"{holdout.held_back} records were left out of this run: they were evaluated before, or are near to it."
        )
    return told
