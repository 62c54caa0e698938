"""An evaluation's score with and without the items on which production contradicts itself: plain typed data."""

from __future__ import annotations

import msgspec


class Contradicted(msgspec.Struct, frozen=True):
    """Means of one evaluation's main score; every item counts once, unscored ones not at all.

    Of `of` evaluation items `contradicted` make a request that production answered in materially different ways
    (`flywheel.curation.duplicates.contradictions`). `score` is over the `n` scored items, `without` over those that
    are not contradicted, `on_them` over the `items` that are.
    """

    candidate: str
    eval_type: str
    metric: str
    contradicted: int
    of: int
    n: int
    items: int
    score: float | None
    without: float | None
    on_them: float | None
