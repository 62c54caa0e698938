from __future__ import annotations

from flywheel.verdicts.ceilings import doubt_about, standard_of
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
