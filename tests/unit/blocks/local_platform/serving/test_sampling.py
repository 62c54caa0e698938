"""Drawing tokens."""

from __future__ import annotations

import numpy as np
import pytest

from blocks.local_platform.serving.sampling import draw

SCORES = np.log(np.array([0.5, 0.3, 0.15, 0.05]))


def frequencies(temperature: float, top_p: float) -> list[float]:
    generator = np.random.default_rng(0)
    drawn = [draw(SCORES, temperature, top_p, generator) for _ in range(4000)]
    return [drawn.count(token) / len(drawn) for token in range(4)]


def test_at_temperature_one_tokens_come_as_often_as_they_are_likely() -> None:
    assert frequencies(1.0, 1.0) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)


def test_a_nucleus_holds_the_fewest_tokens_that_reach_it() -> None:
    assert frequencies(1.0, 0.79) == pytest.approx([0.625, 0.375, 0, 0], abs=0.03)
    assert frequencies(1.0, 0.0) == [1, 0, 0, 0]


def test_a_low_temperature_takes_the_likeliest() -> None:
    assert frequencies(0.01, 1.0) == [1, 0, 0, 0]
