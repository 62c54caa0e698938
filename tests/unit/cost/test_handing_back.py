from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.config import PriceConfig
from flywheel.cost.costs import costs_of
from flywheel.cost.handing_back import HandingBack
from tests.unit.cost.test_costs import LARGE, SMALL, TRAFFIC, calls, way

EVERY = [call.id for call in calls("large")]


@given(st.lists(st.floats(0, 1), min_size=10, max_size=10))
def test_what_is_kept_saves_production_and_the_candidate_is_always_paid(kept: list[float]) -> None:
    behind = HandingBack(way(), calls("large"), [LARGE, SMALL], TRAFFIC)
    alone = costs_of(way(), calls("large"), [LARGE, SMALL], TRAFFIC)
    assert alone.per_request is not None
    assert alone.production_per_request is not None
    back = 1 - sum(kept) / len(kept)
    expected = alone.per_request + back * alone.production_per_request
    assert behind.per_request(dict(zip(EVERY, kept, strict=True))) == pytest.approx(expected)


def test_an_item_without_an_answer_goes_back_and_is_paid_there() -> None:
    half = way(calls=calls("small")[:5])
    behind = HandingBack(half, calls("large"), [LARGE, SMALL], TRAFFIC)
    assert behind.per_request(dict.fromkeys(EVERY[:5], 1.0)) == pytest.approx(0.0012 + 0.5 * 0.013)


def test_held_gpus_are_paid_on_both_sides_and_without_a_price_or_traffic_nothing_is_known() -> None:
    held = PriceConfig(model="large", gpu_hour=2.0, gpu_hours_per_month=730)
    behind = HandingBack(way(), calls("large"), [held, SMALL], TRAFFIC)
    assert behind.per_request(dict.fromkeys(EVERY, 1.0)) == pytest.approx(0.0012 + 1460 / 100_000)
    assert HandingBack(way(), calls("large"), [held, SMALL], None).per_request({}) is None
    assert HandingBack(way(), calls("large"), [SMALL], TRAFFIC).per_request({}) is None
