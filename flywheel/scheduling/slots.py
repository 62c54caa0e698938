"""Who of those waiting for GPU slots starts next.

A claim is for all the slots that its work needs at once, and work that holds slots never waits for more: so nobody can
hold half of what another needs, and there is no deadlock. What is left is order. The largest claims go first, by slots
times expected seconds, and small ones fill the gaps (list scheduling by decreasing area; how well it packs is measured
in `benchmarks/gpu_slots.py`). Left at that, a stream of small claims could pass a large one for ever; so time is cut
into generations by `patience`, and as soon as one claim has waited longer than that, only its generation may start
anything. A generation has finitely many members, so every claim gets its turn.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

PATIENCE_SECONDS = 3600.0
"""How long a claim may be passed by claims that came later."""

UNKNOWN_SECONDS = 3600.0
"""Expected length of work of which nothing is known."""


class Claim(msgspec.Struct, frozen=True):
    """Somebody waits for `slots` since `since`, in seconds of one clock that all claims share."""

    id: str
    slots: int
    since: float
    expected_seconds: float = UNKNOWN_SECONDS


def startable(
    waiting: Iterable[Claim], free: int, now: float, patience: float = PATIENCE_SECONDS
) -> list[str]:
    """Ids of the claims that start now, in the order of their turn; together they fit into `free`.

    Args:
        waiting: Everybody who waits, in any order.
        free: Slots that nobody holds.
        now: The time on the claims' clock.
        patience: Seconds for which a claim may be passed by younger ones.
    """

    def turn(claim: Claim) -> tuple[float, float, float, str]:
        return claim.since // patience, -claim.slots * claim.expected_seconds, claim.since, claim.id

    claims = sorted(waiting, key=turn)
    if claims and now - min(claim.since for claim in claims) > patience:
        oldest = claims[0].since // patience
        claims = [claim for claim in claims if claim.since // patience == oldest]
    started = []
    for claim in claims:
        if claim.slots <= free:
            free -= claim.slots
            started.append(claim.id)
    return started
