from __future__ import annotations

from typing import Any

import pytest

from flywheel.config import FlywheelConfig
from flywheel.errors import ConfigError
from flywheel.overrides import load_config

BASE = {"workload_id": "router", "client_id": "acme"}


def configured(*sets: str) -> FlywheelConfig:
    return load_config(sets=[f"analysis_config.{setting}" for setting in sets], base=BASE)


def test_a_workloads_own_thresholds_replace_what_they_name_and_leave_the_rest() -> None:
    config = configured(
        "thresholds={margin: 0.1, min_score: {function_name: 0.9}}",
        "workloads=[{workload_id: billing, sensitive: true}, {workload_id: chat, margin: 0.2}]",
    )
    billing = config.analysis_config.thresholds_for("billing")
    assert (billing.margin, billing.sensitive, billing.min_score) == (0.1, True, {"function_name": 0.9})
    assert config.analysis_config.thresholds_for("chat").margin == 0.2
    assert config.analysis_config.thresholds_for("router") == config.analysis_config.thresholds


def test_a_single_score_is_set_by_its_path() -> None:
    config = configured("thresholds.min_score.function_name=0.98")
    assert config.analysis_config.thresholds.min_score == {"function_name": 0.98}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("prices=[{model: small, input_per_1k: 0.1}]", "give both, 0 for what is free"),
        ("prices=[{model: small, input_per_1k: .inf, output_per_1k: 1}]", "finite"),
        ("prices=[{model: small, input_per_1k: -1, output_per_1k: 1}]", "greater than or equal to 0"),
        ("prices=[{model: s, gpu_hour: 1}, {model: s, gpu_hour: 2}]", "'s' twice"),
        ("workloads=[{workload_id: w}, {workload_id: w}]", "'w' twice"),
        ("thresholds.margin=1.5", "less than 1"),
        ("thresholds.min_score={function_name: 2}", "less than or equal to 1"),
        ("thresholds.max_latency_ms_p95=.nan", "finite"),
        ("production_endpoint.base_url=http://production/v1", "needs both base_url and model"),
        ("thresholds.marign=0.1", "margin"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_its_name(setting: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        configured(setting)
    assert says in str(error.value)
    assert "analysis_config" in str(error.value)


def test_one_price_may_stand_beside_that_of_a_single_way_of_answering() -> None:
    prices: list[dict[str, Any]] = [
        {"model": "small", "gpu_hour": 1},
        {"model": "small", "applies_to": "customized-eval", "gpu_hour": 2},
    ]
    config = load_config(last={"analysis_config": {"prices": prices}}, base=BASE)
    assert [price.applies_to for price in config.analysis_config.prices] == ["all", "customized-eval"]
