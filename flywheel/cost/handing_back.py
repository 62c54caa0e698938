"""What it costs to ask a candidate always and production as well wherever the answer is handed back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from flywheel.config import PriceConfig
from flywheel.cost.costs import Side, Way, side_of
from flywheel.cost.prices import Call
from flywheel.cost.traffic import Traffic


class HandingBack:
    """The costs of one way of answering with production behind it.

    GPUs that are held whether they are asked or not are paid on both sides. A router that goes by the request alone
    need not ask the candidate where it hands back; that is cheaper than what is said here.
    """

    def __init__(
        self, way: Way, production: Sequence[Call], prices: Sequence[PriceConfig], traffic: Traffic | None
    ) -> None:
        self._ours = side_of(way.calls, prices, way.names, way.eval_type, way.gpu_seconds)
        self._theirs = side_of(production, prices, (), "", None)
        self._production = production
        self._asking = _mean(
            [(self._ours.by_id[c.id], c.weight) for c in way.calls if c.id in self._ours.by_id]
        )
        self._per_month = traffic.per_month if traffic else None

    def per_request(self, kept: Mapping[str, float]) -> float | None:
        """Cost of a request; None where a price or a count is not known.

        Args:
            kept: How much of each item is kept, in [0, 1], by id; what is not named goes back.
        """
        sides: tuple[Side, Side] = (self._ours, self._theirs)
        hosting = math.fsum(side.hosting for side in sides)
        if any(side.missing for side in sides) or (hosting and not self._per_month):
            return None
        back = _mean(
            [
                ((1.0 - kept.get(call.id, 0.0)) * self._theirs.by_id[call.id], call.weight)
                for call in self._production
                if call.id in self._theirs.by_id
            ]
        )
        if back is None or self._asking is None:
            return None
        return self._asking + back + (hosting / self._per_month if hosting and self._per_month else 0.0)


def _mean(values_and_weights: Sequence[tuple[float, float]]) -> float | None:
    total = math.fsum(weight for _, weight in values_and_weights)
    return math.fsum(value * weight for value, weight in values_and_weights) / total if total else None
