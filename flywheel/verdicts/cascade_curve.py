"""Share of the traffic kept against the quality of what is kept, without looking at what is measured.

How good a group of answers is (those that call one tool, say) is learnt on other items than it orders: items are dealt
into folds, a cluster never into two, and each fold is ordered by what the others show. A share is then kept of every
fold alike, so that a fold with more right answers, which the others must show as worse, moves nothing. Items that the
signal cannot tell apart are kept by the same part each: what says nothing gives a flat curve.

Source: cross-fitting as in Chernozhukov et al. 2018, "Double/debiased machine learning".
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from flywheel.verdicts.cascade_signals import Signal
from flywheel.verdicts.estimates import Scored

FOLDS = 5
OTHERS_COUNT = 2.0
"""Items of average weight and average quality that each group is thought to hold beside its own: a group of one answer
does not count as always right."""

Numbers = npt.NDArray[np.float64]


def folds_of(clusters: Sequence[Hashable], folds: int = FOLDS) -> npt.NDArray[np.int64]:
    """A fold for each item, the same for all of a cluster; it depends on the clusters' names and on nothing else."""
    names = sorted(set(clusters), key=lambda name: hashlib.sha256(str(name).encode()).digest())
    fold = {name: place % folds for place, name in enumerate(names)}
    return np.array([fold[name] for name in clusters], dtype=np.int64)


class Ordering:
    """What one signal makes of some scored items, to order any items by."""

    def __init__(self, signal: Signal, scored: Scored, places: npt.NDArray[np.int64]) -> None:
        self._signal = signal
        self.quality_of: dict[str, float] = {}
        if signal.learnt:
            self._learn(scored, places)

    def of(self, places: npt.NDArray[np.int64]) -> Numbers:
        """The higher, the sooner kept; −∞ where the signal is not known: such a request goes back."""
        return np.array([self._one(self._signal.values[place]) for place in places], dtype=np.float64)

    def _one(self, value: str | float | None) -> float:
        if isinstance(value, str):
            return self.quality_of.get(value, self._average)
        return float("-inf") if value is None else float(value)

    def _learn(self, scored: Scored, places: npt.NDArray[np.int64]) -> None:
        sums: dict[str, tuple[float, float]] = {}
        whole, right, count = 0.0, 0.0, 0
        for place in places:
            value, group, weight = scored.values[place], self._signal.values[place], scored.weights[place]
            if value is None or not isinstance(group, str):
                continue
            before = sums.get(group, (0.0, 0.0))
            sums[group] = (before[0] + weight * value, before[1] + weight)
            whole, right, count = whole + weight, right + weight * value, count + 1
        self._average = right / whole if whole else 0.0
        others = OTHERS_COUNT * whole / count if count else 1.0
        self.quality_of = {
            group: (good + others * self._average) / ((weight + others) or 1.0)
            for group, (good, weight) in sums.items()
        }


def held_out_order(
    signal: Signal, scored: Scored, folds: npt.NDArray[np.int64]
) -> list[tuple[npt.NDArray[np.int64], Numbers]]:
    """The scored items with the value that orders them, fold by fold; all together where nothing has to be learnt."""
    usable = np.array([value is not None for value in scored.values], dtype=bool)
    if not signal.learnt:
        places = np.flatnonzero(usable)
        return [(places, Ordering(signal, scored, places).of(places))]
    parts = []
    for fold in np.unique(folds):
        inside = np.flatnonzero(usable & (folds == fold))
        if inside.size:
            ordering = Ordering(signal, scored, np.flatnonzero(usable & (folds != fold)))
            parts.append((inside, ordering.of(inside)))
    return parts


def kept_at(
    share: float, parts: Sequence[tuple[npt.NDArray[np.int64], Numbers]], weights: Numbers
) -> Numbers:
    """How much of each item is kept, in [0, 1], shape (n,), when this share of the scored traffic is.

    The best of each part are kept whole, of those that stand last alike each the same part.
    """
    kept = np.zeros(weights.size)
    for places, values in parts:
        levels, level_of = np.unique(-values, return_inverse=True)
        of_level = np.bincount(level_of, weights=weights[places], minlength=levels.size)
        before = np.cumsum(of_level) - of_level
        room = share * of_level.sum() - before
        part = np.divide(room, of_level, out=np.zeros_like(room), where=of_level > 0)
        if share >= 1.0:
            part[:] = 1.0  # whatever rounding leaves
        kept[places] = np.clip(part, 0.0, 1.0)[level_of]
    return kept
