"""The losses of a fine-tune by step, thinned so that a few hundred points stand for any number of steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flywheel.results import LossPoint

MOST_POINTS = 200


def merged(train: Mapping[int, float], validation: Mapping[int, float]) -> list[LossPoint]:
    """Points by step from two series."""
    steps = sorted(train.keys() | validation.keys())
    return thinned(LossPoint(step, train.get(step), validation.get(step)) for step in steps)


def thinned(points: Iterable[LossPoint], most: int = MOST_POINTS) -> list[LossPoint]:
    """At most about `most` points, by step: evenly spaced ones, the first, the last, and those with a validation loss.

    Of several points of one step the last counts: a training that was resumed has computed it again.
    """
    by_step = {point.step: point for point in points}
    listed = [by_step[step] for step in sorted(by_step)]
    if len(listed) <= most:
        return listed
    spaced = {round(k * (len(listed) - 1) / (most - 1)) for k in range(most)}
    measured = [place for place, point in enumerate(listed) if point.validation is not None]
    kept = spaced | set(measured[:: max(1, len(measured) // most + 1)]) | {*measured[-1:]}
    return [listed[place] for place in sorted(kept)]
