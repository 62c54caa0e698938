"""GPU time of evaluations that share a deployment is charged once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.cost.gpu_time import seconds_charged, shared_equally
from flywheel.results import Evaluation

moments = st.integers(0, 50)
spans = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.tuples(moments, moments).map(lambda ends: (float(min(ends)), float(max(ends)))),
)


def evaluation(kind: Any, minute: int, seconds: float | None) -> Evaluation:
    started = f"2026-01-01T00:{minute:02}:00+00:00"
    return Evaluation(eval_type=kind, model="small", started_at=started, runtime_seconds=seconds)


def test_evaluations_side_by_side_are_charged_the_time_that_they_took_together() -> None:
    charged = seconds_charged([evaluation("base-eval", 0, 600.0), evaluation("icl-eval", 5, 600.0)])
    assert charged == pytest.approx({"base-eval": 450.0, "icl-eval": 450.0})
    one_after_the_other = seconds_charged(
        [evaluation("base-eval", 0, 60.0), evaluation("customized-eval", 5, 90.0)]
    )
    assert one_after_the_other == pytest.approx({"base-eval": 60.0, "customized-eval": 90.0})


def test_an_evaluation_of_unknown_length_shares_nothing_and_stays_unknown() -> None:
    charged = seconds_charged([evaluation("base-eval", 0, 600.0), evaluation("icl-eval", 0, None)])
    assert charged == {"base-eval": pytest.approx(600.0), "icl-eval": None}


@given(spans)
def test_nobody_is_charged_more_than_its_own_time_and_all_together_their_union(
    of: dict[str, tuple[float, float]],
) -> None:
    shares = shared_equally(of)
    assert all(0 <= share <= of[name][1] - of[name][0] + 1e-9 for name, share in shares.items())
    union = sum(any(start <= second < end for start, end in of.values()) for second in range(51))
    assert sum(shares.values()) == pytest.approx(union)
