from __future__ import annotations

from flywheel.config import AnalysisConfig, CustomMetricConfig, FlywheelConfig, MetricsConfig
from flywheel.verdicts.ceilings import assumption_about, doubt_about, standard_of
from tests.unit.verdicts.test_verdicts import ASSUMED, METRIC, scored


def test_a_standard_that_hardly_agrees_with_itself_is_doubted_aloud() -> None:
    poor = standard_of(METRIC, scored(20, 80), None, 20).ceiling
    said = doubt_about(poor, "small", "large-70b") or ""
    assert "agrees with its logged answers on 0.20 only" in said
    assert "'small' (analysis_config.production_endpoint) is not the model of the log (large-70b)" in said
    noisy = standard_of(METRIC, None, scored(20, 80), 20).ceiling
    assert "The log's own repeats say so" in (doubt_about(noisy, "", "large-70b") or "")
    for fine in (ASSUMED.ceiling, standard_of(METRIC, scored(60, 40), None, 20).ceiling):
        assert doubt_about(fine, "large", "large") is None


def test_repeats_without_a_score_are_no_evidence_of_noise() -> None:
    mostly_unscored = scored(2, 0, 30)
    assert standard_of(METRIC, None, mostly_unscored, 20).ceiling.source == "assumed"


def test_an_assumption_says_what_would_tell_and_nothing_that_would_not() -> None:
    config = FlywheelConfig(
        workload_id="w",
        client_id="c",
        analysis_config=AnalysisConfig(min_repeats=20),
        metrics_config=MetricsConfig(custom=[CustomMetricConfig(name="polite", function="m:polite")]),
    )
    told = assumption_about(METRIC, scored(2, 0, 30), config)
    assert "2 requests were asked more than once, and analysis_config.min_repeats is 20" in told
    assert "production_endpoint would tell" in told
    own = assumption_about("polite", scored(0, 0, 30), config)
    assert "polite is not computed of the requests that the log repeats" in own
    assert "production_endpoint would tell" in own
    assert "would tell" not in assumption_about("similarity", scored(0, 0, 30), config)
