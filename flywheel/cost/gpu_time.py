"""How long a deployment's GPUs worked for each of the evaluations that were asked on it side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from flywheel.results import Evaluation


def seconds_charged(evaluations: Sequence[Evaluation]) -> dict[str, float | None]:
    """By eval type the seconds of GPU time to charge; None where it is not known how long asking took.

    The evaluations of one candidate share its deployment: time in which several were under way is shared equally
    between them, so together they are charged the time in which any of them was. One whose length is not known shares
    nothing, and the others are charged in full for their time beside it.
    """
    spans: dict[str, tuple[float, float]] = {}
    charged: dict[str, float | None] = {}
    for evaluation in evaluations:
        charged[evaluation.eval_type] = seconds = evaluation.runtime_seconds
        if seconds is not None and evaluation.started_at:
            start = datetime.fromisoformat(evaluation.started_at).timestamp()
            spans[evaluation.eval_type] = (start, start + seconds)
    return charged | shared_equally(spans)


def shared_equally(spans: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """The length of each span, time that several have in common divided equally; together the length of their union."""
    shares = dict.fromkeys(spans, 0.0)
    moments = sorted({moment for span in spans.values() for moment in span})
    for begin, end in pairwise(moments):
        inside = [name for name, (start, stop) in spans.items() if start <= begin and end <= stop]
        for name in inside:
            shares[name] += (end - begin) / len(inside)
    return shares
