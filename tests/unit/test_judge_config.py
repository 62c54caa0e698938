"""Settings of a judge: what they must name and what cannot stand together."""

from __future__ import annotations

import pytest

from flywheel.config import JudgeConfig


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"base_url": "http://h/v1"}, "needs the name of its model"),
        ({"model": "m", "function": "a:b"}, "model and function are both set"),
        ({"model": "m", "metrics": []}, "rates nothing"),
        ({"custom_metrics": [{"name": "similarity", "prompt": "p"}]}, "two judge metrics"),
        ({"custom_metrics": [{"name": "a", "prompt": "p", "low": 5, "high": 5}]}, "low must be below high"),
    ],
)
def test_settings_of_a_judge_that_do_not_agree_are_refused(settings: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        JudgeConfig.model_validate(settings)
