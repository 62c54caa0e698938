"""The funnel: where every logged call went. It adds up, or something of ours is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flywheel.config.redaction import ALL_KINDS
from flywheel.curation.schema import FUNNEL
from flywheel.errors import FlywheelError

READING = FUNNEL[:4]
"""The keys that only the first step counts; validation reads what it was handed."""

READ_AS = FUNNEL[4:]
"""The keys that share out what was read."""


OPTIONAL = frozenset({"held_back", "contradicted"})
"""Keys that stand in the funnel only where a step counts them."""


BESIDE = ("erased", "redacted", *(f"redacted_{kind}" for kind in (*ALL_KINDS, "name")))
"""Counted by the first step beside the funnel, where asked for: records and placeholders that other keys count too."""


def funnel_of(*steps: Mapping[str, Any]) -> dict[str, int]:
    """The funnel from the counts of the steps, in the order in which they ran.

    `invalid` is counted by two steps (unreadable lines, unusable records) and summed. What was read is counted by
    the first; of any other key the last count holds: the leakage check counts the splits again.

    Raises:
        FlywheelError: Calls are unaccounted for; the message has the counts.
    """
    funnel = {name: 0 for name in FUNNEL if name not in OPTIONAL or any(name in step for step in steps)}
    for position, step in enumerate(steps):
        for name in funnel:
            if name in step and (position == 0 or name not in READING):
                funnel[name] = int(step[name]) + (funnel[name] if name == "invalid" else 0)
    check("lines", funnel["lines"], {name: funnel[name] for name in ("out_of_scope", "over_limit", "read")})
    check("records read", funnel["read"], {name: funnel.get(name, 0) for name in READ_AS})
    return funnel | {name: int(steps[0][name]) for name in BESIDE if steps and name in steps[0]}


def check(what: str, total: int, shares: Mapping[str, int]) -> None:
    """Raises: FlywheelError, with the numbers, when the shares are not the total."""
    if total != sum(shares.values()):
        raise FlywheelError(
            f"{total} {what} do not add up to {dict(shares)}. This is a defect of the flywheel, not of your data; "
            "please report it with these numbers."
        )
