"""A simulated day of candidates that share GPU slots: how far the makespan is from what is possible at all.

    python benchmarks/gpu_slots.py --days 200

Each day has 20 candidates of 1 to 4 slots on 8, their lengths mixed from 10 minutes to 3 hours; half of them give a
part of their slots back when the fine-tune is over. They are started by the policy that runs use
(`flywheel.scheduling.slots`), with lengths known from earlier runs, wrong by a third (log-normal, sigma 0.3); with
lengths estimated from the models' sizes and the rows, as on a first night (`flywheel.scheduling.expected_length`),
wrong by a factor of two (sigma 0.7); and with nothing known of them. The lower bound is the larger of the area over the
slots and the longest candidate; one candidate after another stands beside it.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from flywheel.scheduling.slots import PATIENCE_SECONDS, UNKNOWN_SECONDS, Claim, startable

KNOWN, ESTIMATED, UNKNOWN = 0.3, 0.7, None
"""By how much the expected length is wrong: sigma of the logarithm; None where nothing is expected."""

SLOTS = 8
CANDIDATES = 20


class Work(NamedTuple):
    """One candidate: it holds `slots` for `seconds`, and `training` of them only until `trained`."""

    arrives: float
    slots: int
    seconds: float
    training: int = 0
    trained: float = 0.0
    expected: float = UNKNOWN_SECONDS

    @property
    def area(self) -> float:
        """Slot-seconds."""
        return (self.slots - self.training) * self.seconds + self.training * self.trained


class Started(NamedTuple):
    """When each candidate got its slots, by its number, and when the last one was done."""

    at: dict[int, float]
    makespan: float


def day(
    seed: int, error: float | None, *, candidates: int = CANDIDATES, spread_seconds: float = 0.0
) -> list[Work]:
    """One day's candidates, arriving over `spread_seconds`; `error`: by how much what is expected of each is wrong."""
    draw, guess = random.Random(seed), random.Random(f"expected {seed}")
    works = []
    for _ in range(candidates):
        slots = draw.randint(1, 4)
        seconds = draw.choice((600, 1_200, 1_800, 3_600, 5_400, 7_200, 10_800)) * draw.uniform(0.8, 1.2)
        training = draw.randint(0, slots - 1) if draw.random() < 0.5 else 0
        works.append(
            Work(
                draw.uniform(0, spread_seconds),
                slots,
                seconds,
                training,
                seconds * draw.uniform(0.3, 0.8) if training else 0.0,
                UNKNOWN_SECONDS if error is None else seconds * guess.lognormvariate(0, error),
            )
        )
    return works


def simulate(works: Sequence[Work], slots: int = SLOTS, patience: float = PATIENCE_SECONDS) -> Started:
    """Play the day; raises AssertionError if the policy ever hands out more than there is, or leaves somebody."""
    free, started = slots, {}
    waiting: dict[str, Work] = {}
    # (time, order of events at one time, slots that come back, number of the candidate that arrives)
    events = [(work.arrives, 1, 0, number) for number, work in enumerate(works)]
    heapq.heapify(events)
    makespan = 0.0
    while events:
        now = events[0][0]
        while events and events[0][0] == now:
            _, _, returned, number = heapq.heappop(events)
            free += returned
            if not returned:
                waiting[str(number)] = works[number]
        claims = [Claim(number, work.slots, work.arrives, work.expected) for number, work in waiting.items()]
        for turn in startable(claims, free, now, patience):
            work = waiting.pop(turn)
            free -= work.slots
            started[int(turn)] = now
            makespan = max(makespan, now + work.seconds)
            if work.training:
                heapq.heappush(events, (now + work.trained, 0, work.training, -1))
            heapq.heappush(events, (now + work.seconds, 0, work.slots - work.training, -1))
        assert free >= 0, "more slots were handed out than there are"
    assert not waiting, "somebody never got a turn"
    assert free == slots
    return Started(started, makespan)


def lower_bound(works: Sequence[Work], slots: int = SLOTS) -> float:
    """No schedule of these, all there from the start, can be shorter."""
    return max(sum(work.area for work in works) / slots, *(work.seconds for work in works))


def one_after_another(works: Sequence[Work]) -> float:
    """The baseline: each candidate alone."""
    return sum(work.seconds for work in works)


def main() -> None:
    """Print the days' figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=200)
    days = parser.parse_args().days
    print(f"{days} days of {CANDIDATES} candidates on {SLOTS} slots; makespan over the lower bound")
    for how, error in (("known", KNOWN), ("estimated", ESTIMATED), ("unknown", UNKNOWN)):
        worked = [day(seed, error) for seed in range(days)]
        ratios = sorted(simulate(works).makespan / lower_bound(works) for works in worked)
        print(
            f"  lengths {how}: "
            f"median {statistics.median(ratios):.3f}, 90 % {ratios[int(days * 0.9)]:.3f}, worst {ratios[-1]:.3f}; "
            f"within 1.15 on {sum(ratio <= 1.15 for ratio in ratios) / days:.0%} of the days"
        )
    baseline = statistics.median(one_after_another(works) / lower_bound(works) for works in worked)
    print(f"  one after another: median {baseline:.2f}")


if __name__ == "__main__":
    main()
