"""`flywheel decide`: what a person decides of a candidate, written down with the run. Nothing else happens."""

from __future__ import annotations

import argparse
import asyncio
from typing import Literal

from flywheel.cli.stored_run import add_run_argument

HELP = "record a person's decision about a candidate, or points of its checklist; nothing is promoted by it"
EXAMPLE = "flywheel decide 3f2a r16 --approve --by 'Ada L.' --done spot-check --done load-test --note 'fine for web'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose decision about what."""
    add_run_argument(parser)
    parser.add_argument("candidate", metavar="CANDIDATE", help="the candidate's name")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--approve", action="store_true", help="the candidate may go further")
    choice.add_argument("--reject", action="store_true", help="it may not")
    parser.add_argument("--by", required=True, metavar="NAME", help="who decides")
    parser.add_argument("--note", default="", metavar="TEXT", help="why")
    parser.add_argument(
        "--done",
        action="append",
        default=[],
        metavar="POINT",
        help="a point of the checklist that is done: spot-check, domain-suite, load-test, security-and-compliance; "
        "may be given many times, and without --approve or --reject",
    )


def run(arguments: argparse.Namespace) -> int:
    """Record it and show the state of the checklist."""
    from flywheel.cli.settings_arguments import connections_from_arguments
    from flywheel.cli.stored_run import change_run
    from flywheel.cli.terminal import console, emit_json, plain
    from flywheel.decisions import CHECKLIST, best_outcome, checklist_of, with_decision
    from flywheel.errors import ConfigError
    from flywheel.report.analysis_tables import OUTCOMES

    decision: Literal["approved", "rejected", "open"] = (
        "approved" if arguments.approve else "rejected" if arguments.reject else "open"
    )
    if decision == "open" and not arguments.done and not arguments.note:
        raise ConfigError(
            "Say what you decide with --approve or --reject, or what is done with --done POINT."
        )
    changed = asyncio.run(
        change_run(
            arguments.run,
            connections_from_arguments(arguments),
            lambda found: with_decision(
                found,
                arguments.candidate,
                decision,
                by=arguments.by,
                note=arguments.note,
                done=arguments.done,
            ),
        )
    )
    outcome = best_outcome(changed, arguments.candidate)
    checklist = checklist_of(changed, arguments.candidate)
    if arguments.json:
        emit_json(
            {
                "run_id": changed.run_id,
                "candidate": arguments.candidate,
                "decision": decision,
                "by": changed.decisions[-1].by,
                "at": changed.decisions[-1].at,
                "verdict": outcome,
                "checklist": checklist,
            }
        )
        return 0
    screen = console()
    said = "noted" if decision == "open" else decision
    screen.print(
        plain(f"{arguments.candidate} of run {changed.run_id}: {said} by {changed.decisions[-1].by}.")
    )
    for point, done in checklist.items():
        screen.print(f"  {'done' if done else 'OPEN'}  {point}: {CHECKLIST[point]}")
    if decision == "approved" and outcome != "surfaced":
        told = f"its verdict is '{OUTCOMES[outcome]}'" if outcome else "it has no verdict"
        screen.print(f"Note: this candidate was not surfaced; {told}. The decision is recorded all the same.")
    screen.print("Nothing was promoted or deployed.")
    return 0
