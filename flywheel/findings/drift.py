"""How far the traffic has moved since an evaluation set was drawn: plain typed data, kept with a run."""

from __future__ import annotations

import msgspec

ANSWERS, CONTEXTS, LENGTHS = "answers", "contexts", "lengths"
SURE = 0.01
"""Largest p-value with which a shift is not put down to chance."""
FEWEST = 30
"""Calls since from which a set may be stale: one conversation of a new kind is no new traffic."""


class TrafficProfile(msgspec.Struct, frozen=True):
    """Logged calls, counted: every one of them, repeats too.

    `classes` is by the tools of the answer, `lengths` by the number of binary digits of the conversation's own
    characters; `uncovered` calls have a system prompt or tools that no evaluation item has. `newest` is the time of
    the last call in seconds since 1970, None where no call has a time.
    """

    calls: int = 0
    newest: float | None = None
    classes: dict[str, int] = {}
    lengths: dict[str, int] = {}
    uncovered: int = 0


class Shift(msgspec.Struct, frozen=True):
    """One way in which traffic may move.

    `distance` is the total variation distance between the shares then and now, in [0, 1]: what share of the calls is
    of another kind. `by_chance` is its mean, and `p_value` how often it is as large, where calls of the two times are
    exchanged at random.
    """

    of: str
    distance: float
    by_chance: float
    p_value: float


class Drift(msgspec.Struct, frozen=True):
    """The traffic since an evaluation set was drawn, beside the traffic that it was drawn from.

    `since` is ISO 8601 in UTC. `calls_then` and `calls_now` were compared; `uncovered_then` and `uncovered_now` are
    the shares of them with a system prompt or tools that no evaluation item has. `moved` has the answer classes whose
    share moved most: [class, share then, share now]. `stale_because` names the shifts from `stale_from` on that chance
    does not explain.
    """

    since: str
    calls_then: int
    calls_now: int
    shifts: list[Shift]
    uncovered_then: float
    uncovered_now: float
    moved: list[tuple[str, float, float]]
    stale_from: float
    stale_because: list[str] = []

    @property
    def stale(self) -> bool:
        """Whether scores over the set say little about today's traffic."""
        return bool(self.stale_because)


def reasons(drift: Drift) -> str:
    """Why the set is stale, in words with the numbers; empty where it is not."""
    words = {
        ANSWERS: _of_answers(drift),
        CONTEXTS: f"{drift.uncovered_now:.0%} of the calls since have a system prompt or tools that none of its items "
        f"has ({drift.uncovered_then:.0%} when it was drawn)",
        LENGTHS: "the calls since are of another length: "
        + ", ".join(f"{shift.distance:.0%} moved" for shift in drift.shifts if shift.of == LENGTHS),
    }
    return "; ".join(words[name] for name in drift.stale_because)


def _of_answers(drift: Drift) -> str:
    distance = next((shift.distance for shift in drift.shifts if shift.of == ANSWERS), 0.0)
    listed = ", ".join(f"{name} {then:.0%} to {now:.0%}" for name, then, now in drift.moved[:3])
    return f"{distance:.0%} of the answers since are of other kinds ({listed})"
