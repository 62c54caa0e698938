"""Where to cut: how much of the traffic a candidate could keep, if the rest went back to production.

A cut is good where the kept answers are surely not worse than production by more than the margin: the same standard as
for a verdict, asked of the kept part alone. A cut chosen on the items that then measure it looks better than it is, so
each fold of the items is measured by the cut that the others choose, and the result is over all folds. It must reach
the target as surely as the level says, over all signals of the evaluation together (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flywheel.findings.bounds import Bounds
from flywheel.findings.cascades import Cascade, CascadePoint, CutOutcome
from flywheel.verdicts.cascade_curve import FOLDS, Numbers, Ordering, folds_of, held_out_order, kept_at
from flywheel.verdicts.cascade_signals import Routable, Signal
from flywheel.verdicts.estimates import Scored, mean_of

STEPS = 10
"""Points of a curve."""
MOST_CUTS = 20
"""Places of a signal that has a value for each item at which a cut is tried."""

LIKELY = 0.8
"""Probability with which a cut should be confirmed by items that it was not chosen on."""

CostOf = Callable[[Sequence[float]], float | None]
"""Cost of a request when each item is kept by such a part."""

Places = npt.NDArray[np.int64]


class Asked(NamedTuple):
    """Of whom, and what is asked of a cut: the metric's least mean, at which level."""

    candidate: str
    eval_type: str
    metric: str
    target: float
    level: float


def cascades_of(routable: Routable, asked: Asked, cost_of: CostOf) -> list[Cascade]:
    """One curve for each signal; none where nothing was scored."""
    if all(value is None for value in routable.scored.values):
        return []
    tests = len(routable.signals)
    return [_Work(routable.scored, signal, asked, cost_of, tests).cascade() for signal in routable.signals]


class _Found(NamedTuple):
    kept: Numbers
    point: CascadePoint
    surely: float  # the limit that the outcome goes by


class _Work:
    """One signal of one evaluation."""

    def __init__(self, scored: Scored, signal: Signal, asked: Asked, cost_of: CostOf, tests: int) -> None:
        self._scored, self._signal, self._asked, self._cost_of = scored, signal, asked, cost_of
        self._weights = np.array(scored.weights, dtype=np.float64)
        self._values = np.array([np.nan if v is None else v for v in scored.values], dtype=np.float64)
        self._usable = np.flatnonzero(~np.isnan(self._values))
        self._folds = folds_of(scored.clusters)
        self._tail = (1 - asked.level) / 2
        self._strict = self._tail / tests

    def cascade(self) -> Cascade:
        chosen = self._cross_fitted()
        outcome, reason, needed = self._outcome(chosen)
        useful = outcome in ("useful", "everything")
        return Cascade(
            candidate=self._asked.candidate,
            eval_type=self._asked.eval_type,
            metric=self._asked.metric,
            signal=self._signal.name,
            outcome=outcome,
            reason=reason,
            target=self._asked.target,
            n=int(self._usable.size),
            unscored=self._scored.unscored,
            points=self._curve(),
            chosen=chosen.point if chosen else None,
            chosen_share=self._share_interval(chosen.kept) if chosen else None,
            cut=self._in_words() if useful else "",
            items_needed=needed,
        )

    def _curve(self) -> list[CascadePoint]:
        parts = held_out_order(self._signal, self._scored, self._folds)
        return [self._point(kept_at(step / STEPS, parts, self._weights)) for step in range(1, STEPS + 1)]

    def _point(self, kept: Numbers, tail: float | None = None) -> CascadePoint:
        whole = math.fsum(self._weights)
        share = min(1.0, math.fsum(kept * self._weights) / whole) if whole else 0.0
        mean = mean_of(self._part(kept))
        cost = self._cost_of([float(part) for part in kept])
        if mean is None:
            return CascadePoint(share, None, None, cost)
        low, high = mean.bounds(self._tail if tail is None else tail)
        return CascadePoint(share, mean.value, Bounds(min(low, mean.value), max(high, mean.value)), cost)

    def _part(self, kept: Numbers) -> Scored:
        places = np.flatnonzero(kept > 0).tolist()
        return Scored(
            [self._scored.values[place] for place in places],
            [self._scored.clusters[place] for place in places],
            [float(kept[place] * self._weights[place]) for place in places],
        )

    def _cross_fitted(self) -> _Found | None:
        """Each fold cut where the others say; None where none of them finds a place."""
        kept = np.zeros(self._weights.size)
        for fold in range(FOLDS):
            others = self._usable[self._folds[self._usable] != fold]
            ordering = Ordering(self._signal, self._scored, others)
            cut = self._cut(ordering.of(others), others)
            if cut is not None:
                inside = self._usable[self._folds[self._usable] == fold]
                kept[inside] = ordering.of(inside) >= cut
        mean = mean_of(self._part(kept))
        if mean is None:
            return None
        return _Found(kept, self._point(kept), mean.bounds(self._strict)[0])

    def _cut(self, values: Numbers, places: Places) -> float | None:
        """The lowest value from which on what these items show is surely good enough; None: there is none.

        First one is looked for that is likely to be confirmed by other items: what just clears the target here clears
        it there about every other time.
        """
        from scipy.special import ndtr, ndtri

        levels = np.unique(values[np.isfinite(values)])
        if levels.size > MOST_CUTS:
            levels = np.unique(np.quantile(levels, np.arange(MOST_CUTS) / MOST_CUTS, method="lower"))
        promising = []
        for level in levels:  # from the largest share on
            kept = np.zeros(self._weights.size)
            kept[places] = values >= level
            weights = (kept * self._weights)[places]
            if not weights.any() or np.average(self._values[places], weights=weights) < self._asked.target:
                continue
            mean = mean_of(self._part(kept))
            if mean is not None:
                promising.append((float(level), mean))
        for tail in (float(ndtr(ndtri(self._strict) - ndtri(LIKELY))), self._strict):
            for place, mean in promising:
                if mean.bounds(tail)[0] >= self._asked.target:
                    return place
        return None

    def _outcome(self, chosen: _Found | None) -> tuple[CutOutcome, str, int | None]:
        target = self._asked.target
        wanted = f"{target:.3f}"
        if chosen is not None and chosen.surely >= target:
            where = f"measured on items that the cut was not chosen on, with {chosen.surely:.3f} as the lower limit"
            if chosen.point.share >= 1.0 - 1e-9:
                return "everything", f"No cut is needed: all of it reaches {wanted}, {where}.", None
            return "useful", f"What is kept reaches {wanted}, {where}.", None
        needed = self._fewest()
        clusters = len({self._scored.clusters[place] for place in self._usable.tolist()})
        if needed is not None and clusters < needed:
            why = (
                f"Too few items: {clusters} independent ones; even if all that is kept agreed, "
                f"{needed} would be needed to be sure of {wanted}."
            )
            return "too_few", why, needed
        if needed is None:
            return (
                "no_useful_cut",
                "With a margin of 0 no number of items could show that a part is good enough.",
                None,
            )
        if chosen is None:
            return (
                "no_useful_cut",
                f"No useful cut: nowhere is it sure that what is kept reaches {wanted}.",
                None,
            )
        why = (
            f"No useful cut: where one part of the items says to cut, the other part does not surely reach {wanted} "
            f"(lower limit {chosen.surely:.3f})."
        )
        return "no_useful_cut", why, None

    def _fewest(self) -> int | None:
        """Items with which a cut could be found and confirmed, if all that is kept agreed; None: no number does."""
        target = self._asked.target
        if target <= 0:
            return 1
        if target >= 1:
            return None
        # All of n right: the lower limit is tail^(1/n). A cut is chosen on all folds but one.
        return math.ceil(math.log(self._strict) / math.log(target) * FOLDS / (FOLDS - 1))

    def _share_interval(self, kept: Numbers) -> Bounds | None:
        of_all = Scored([float(part) for part in kept], self._scored.clusters, self._scored.weights)
        mean = mean_of(of_all)
        return None if mean is None else Bounds(*mean.bounds(self._tail))

    def _in_words(self) -> str:
        """Where all items together say to cut."""
        ordering = Ordering(self._signal, self._scored, self._usable)
        cut = self._cut(ordering.of(self._usable), self._usable)
        if cut is None:
            return ""
        if not self._signal.learnt:
            number = f"{cut:.3f}".replace("-", "−")
            return f"from a mean log-probability of {number} on"
        return ", ".join(sorted(group for group, quality in ordering.quality_of.items() if quality >= cut))
