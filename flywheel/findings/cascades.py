"""How much of the traffic a candidate could take if the rest were handed back to production. Nothing is routed.

Plain typed data, kept with a run's analysis. Shares and qualities lie in [0, 1]; money is in `Costs.currency`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from flywheel.findings.bounds import Bounds

SignalName = Literal["answer class", "request length", "confidence"]
CutOutcome = Literal["useful", "everything", "no_useful_cut", "too_few"]


class CascadePoint(msgspec.Struct, frozen=True):
    """What it would be to keep this share of the traffic.

    `quality` is the mean score of what is kept, None where nothing is. `cost_per_request` is that of asking the
    candidate always and production where it is handed back; None where prices are missing.
    """

    share: float
    quality: float | None
    interval: Bounds | None = None
    cost_per_request: float | None = None


class Cascade(msgspec.Struct, frozen=True):
    """One evaluation under one signal that is known before the reference is.

    `points` draw the curve, by rising share; the last one keeps all that was scored, so its quality is the evaluation's
    own. `chosen` is what a cut comes to on items that it was not chosen on, with `chosen_share` as the interval of its
    share; None where there is none. `cut` says in words where it lies when all items choose it. `target` is the quality
    that must surely be kept up; `items_needed` of one kind would show it at best.
    """

    candidate: str
    eval_type: str
    metric: str
    signal: SignalName
    outcome: CutOutcome
    reason: str
    target: float
    n: int
    unscored: int = 0
    points: list[CascadePoint] = []
    chosen: CascadePoint | None = None
    chosen_share: Bounds | None = None
    cut: str = ""
    items_needed: int | None = None
