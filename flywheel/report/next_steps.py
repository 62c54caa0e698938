"""What a run comes to in a sentence, and what its reader can do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from flywheel.decisions import CHECKLIST, best_outcome, checklist_of, latest_decision, surfaced, undecided
from flywheel.report.commands import command
from flywheel.report.drift import RENEW, wants_renewal
from flywheel.report.numbers import score_text
from flywheel.report.summary import best_evaluation
from flywheel.report.tables import primary_score
from flywheel.results import RunResult


class NextStep(NamedTuple):
    """What to do, and the command for it, to be copied; empty where there is none."""

    text: str
    command: str = ""


def conclusion(run: RunResult) -> str:
    """The sentence to read first; a run without a winner says so, and why."""
    if run.analysis and run.analysis.conclusion:
        return run.analysis.conclusion
    if run.status == "running":
        return "The run is still going on; what is here is what it found so far."
    found = surfaced(run)
    if found:
        return f"Surfaced: {', '.join(found)}. A person decides."
    best = best_evaluation(run.candidates)
    if best is None:
        return f"No candidate has a score. {run.error or run.message}".strip()
    named = f"{best[0].candidate} {best[1].eval_type} {score_text(primary_score(best[1]))}"
    if run.analysis and run.analysis.verdicts:
        return f"No winner: no candidate was surfaced. The best was {named}."
    return f"No verdict was reached in this run. The best score was {named}."


def beside_conclusion(run: RunResult) -> str:
    """What the run's message says beside its conclusion, for a reader who is told that too."""
    return run.message.replace(conclusion(run), "").replace("; ; ", "; ").strip(" ;")


def next_steps(run: RunResult, connections: Mapping[str, Any] | None = None) -> list[NextStep]:
    """What to do now, most important first.

    `connections` are the settings under which the run was found, where those are not its own.
    """
    steps: list[NextStep] = []
    found_in = run.config.get("connections") if connections is None else connections
    for name in undecided(run):
        left = [point for point, done in checklist_of(run, name).items() if not done]
        decide = command(f"decide {run.run_id} {shlex.quote(name)} --approve --by NAME", found_in)
        points = ", ".join(left) or "all points are done"
        text = f"{name} was surfaced. Go through its checklist ({points}), then record what you decide."
        steps.append(NextStep(text, decide))
    for candidate in run.candidates:
        name = candidate.candidate
        if (decision := latest_decision(run, name)) and decision.decision == "approved":
            left = [point for point in CHECKLIST if not decision.checklist.get(point)]
            points = f", with open points: {', '.join(left)}" if left else ""
            text = f"{name} was approved by {decision.by}{points}. "
            steps.append(NextStep(f"{text}Putting it into production is up to you; nothing was deployed."))
        if best_outcome(run, name) == "cannot_tell":
            needed = [
                v.items_needed
                for v in (run.analysis.verdicts if run.analysis else ())
                if v.candidate == name and v.items_needed
            ]
            more = _more_items(run, min(needed, default=None))
            steps.append(NextStep(f"{name}: these items cannot tell. {more}"))
        if candidate.status == "pending" and run.status != "running":
            steps.append(
                NextStep(f"{name} waits; go on later.", command(f"run --resume {run.run_id}", found_in))
            )
        if candidate.status in ("failed", "partial"):
            steps.append(NextStep(f"{name} is {candidate.status}: {candidate.error}"))
    if not steps and run.status != "running":
        text = (
            "Nothing to promote. Try a larger candidate, more training records (data_split_config.limit), or look at "
            "the divergent answers: the reference may be what is wrong."
        )
        steps.append(NextStep(text))
    if wants_renewal(run):
        text = "The evaluation set is stale, so its scores say less about today's traffic. Run on newer logs with"
        steps.append(NextStep(f"{text} {RENEW} to draw a new one."))
    if best_evaluation(run.candidates) is not None:
        text = "Read the divergent answers, worst first: a high score says nothing about what is wrong in the rest."
        steps.append(NextStep(text, command(f"divergent {run.run_id}", found_in)))
    return steps


def _more_items(run: RunResult, needed: int | None) -> str:
    """How to come by more evaluation items; where their number is not what keeps it open, the verdict says what is."""
    if needed is None:
        return "Its verdict says what keeps it open."
    text = f"Evaluate about {needed} items: --set data_split_config.eval_size={needed}"
    if not run.config.get("history_config", {}).get("keep_evaluation_set", True):
        return f"{text}, with a log that has as many beside what is trained on."
    return (
        f"{text}, with a log that holds enough records no run has trained on. Where there are none, --set "
        "history_config.keep_evaluation_set=false draws a new set and looks at no earlier run."
    )
