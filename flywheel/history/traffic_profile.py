"""Counting the traffic that an evaluation set stands for, and holding the traffic since against it.

Every logged call counts, repeats too. What is left after duplicates were removed could not be compared: how many
repeats a kind of call has depends on how much of the log is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from flywheel.curation.validated_table import numbers, read_batches
from flywheel.findings.drift import ANSWERS, CONTEXTS, FEWEST, LENGTHS, SURE, Drift, Shift, TrafficProfile
from flywheel.records.timestamps import to_iso

Counts = npt.NDArray[np.int64]

DRAWS = 999
MOST_MOVED = 5


def profile_of(validated: Path, evaluated: Collection[str], after: float | None = None) -> TrafficProfile:
    """The calls of a validated table; those logged after a time alone, where one is given.

    Args:
        evaluated: Ids of the evaluation items; their system prompts and tools are the covered ones.
        after: Seconds since 1970. A call without a time is not known to be after any.
    """
    ids = set(evaluated)
    covered: set[bytes] = set()
    contexts: Counter[bytes] = Counter()
    classes: Counter[str] = Counter()
    lengths: Counter[str] = Counter()
    calls, newest = 0, float("-inf")
    columns = ("record_id", "timestamp", "answer_class", "context_hash", "text")
    for _, batch in read_batches(validated, columns, rows=2_048):
        hashes = batch["context_hash"].to_pylist()
        covered.update(
            context
            for name, context in zip(batch["record_id"].to_pylist(), hashes, strict=True)
            if name in ids
        )
        times = numbers(batch["timestamp"], float("-inf"))
        chosen = np.flatnonzero(times > after) if after is not None else np.arange(times.size)
        if not chosen.size:
            continue
        calls += chosen.size
        newest = max(newest, float(times[chosen].max()))
        kinds, sizes = batch["answer_class"].to_pylist(), numbers(pc.utf8_length(batch["text"])).tolist()
        for place in chosen.tolist():
            classes[kinds[place]] += 1
            contexts[hashes[place]] += 1
            lengths[str(int(sizes[place]).bit_length())] += 1
    return TrafficProfile(
        calls=calls,
        newest=newest if np.isfinite(newest) else None,
        classes=dict(sorted(classes.items())),
        lengths=dict(sorted(lengths.items())),
        uncovered=sum(count for context, count in contexts.items() if context not in covered),
    )


def profile_when_drawn(
    validated: Path, evaluated: Collection[str], before: TrafficProfile | None
) -> TrafficProfile:
    """What a new set was drawn from: with a set before it what was logged since that one, as far as it is known."""
    if before is not None and before.newest is not None:
        since = profile_of(validated, evaluated, before.newest)
        if since.calls >= FEWEST:
            return since
    return profile_of(validated, evaluated)


def drift_since(
    then: TrafficProfile | None, validated: Path, evaluated: Collection[str], stale_from: float
) -> Drift | None:
    """The calls logged after those that the set was drawn from, beside them.

    None where it is not known what it was drawn from, no call has a time, or none is newer.
    """
    if then is None or then.newest is None or not then.calls:
        return None
    now = profile_of(validated, evaluated, then.newest)
    return drift_between(then, now, stale_from) if now.calls else None


def drift_between(then: TrafficProfile, now: TrafficProfile, stale_from: float) -> Drift:
    """Both need at least one call, and `then` a time."""
    assert then.newest is not None
    shifts = [
        shift_of(ANSWERS, then.classes, now.classes),
        shift_of(CONTEXTS, _by_cover(then), _by_cover(now)),
        shift_of(LENGTHS, then.lengths, now.lengths),
    ]
    uncovered_then, uncovered_now = then.uncovered / then.calls, now.uncovered / now.calls
    shares = [
        (name, then.classes.get(name, 0) / then.calls, now.classes.get(name, 0) / now.calls)
        for name in sorted({*then.classes, *now.classes})
    ]
    stale = [shift.of for shift in shifts if shift.distance >= stale_from and shift.p_value <= SURE]
    if now.calls < FEWEST:
        stale = []
    if uncovered_now < uncovered_then:  # better covered than it was
        stale = [name for name in stale if name != CONTEXTS]
    return Drift(
        since=to_iso(then.newest),
        calls_then=then.calls,
        calls_now=now.calls,
        shifts=shifts,
        uncovered_then=uncovered_then,
        uncovered_now=uncovered_now,
        moved=sorted(shares, key=lambda share: -abs(share[2] - share[1]))[:MOST_MOVED],
        stale_from=stale_from,
        stale_because=stale,
    )


def shift_of(of: str, then: Mapping[str, int], now: Mapping[str, int]) -> Shift:
    """Total variation distance between two counts by kind, with its permutation test (always the same draws)."""
    names = sorted({*then, *now})
    first, second = (
        np.array([counts.get(name, 0) for name in names], dtype=np.int64) for counts in (then, now)
    )
    distance = float(_distance(first, second))
    pooled = first + second
    drawn = np.random.default_rng(0).multivariate_hypergeometric(
        pooled, int(second.sum()), size=DRAWS, method="marginals"
    )
    by_chance = _distance(pooled - drawn, drawn)
    p_value = (1 + int((by_chance >= distance - 1e-12).sum())) / (1 + DRAWS)
    return Shift(of, distance, float(by_chance.mean()), p_value)


def _distance(first: Counts, second: Counts) -> npt.NDArray[np.float64]:
    shares = [counts / counts.sum(axis=-1, keepdims=True) for counts in (first, second)]
    return np.asarray(np.abs(shares[0] - shares[1]).sum(axis=-1) / 2)


def _by_cover(profile: TrafficProfile) -> dict[str, int]:
    return {"covered": profile.calls - profile.uncovered, "uncovered": profile.uncovered}
