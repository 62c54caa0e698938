"""A table for the Prefect UI is never larger than the UI takes, and says where the rest is."""

from __future__ import annotations

import json

from flywheel.report.bounded import bounded


def test_rows_beyond_the_bound_are_counted_in_a_last_row() -> None:
    rows = [{"item": f"i{n}", "text": "t"} for n in range(1000)]
    kept = bounded(rows, "flywheel divergent r1", empty="", most_rows=300)
    assert kept[:300] == rows[:300]
    assert kept[300:] == [{"item": "700 more: flywheel divergent r1", "text": ""}]


def test_a_few_large_rows_are_bounded_by_their_bytes() -> None:
    rows = [{"text": "é" * 10_000}] * 100
    kept = bounded(rows, "there", empty="", most_bytes=500_000)
    assert len(json.dumps(kept)) < 510_000
    assert kept[-1]["text"].endswith("more: there")


def test_what_fits_is_whole_and_nothing_says_so() -> None:
    assert bounded([{"n": 1}], "there", empty="nothing") == [{"n": 1}]
    assert bounded([], "there", empty="nothing") == [{"note": "nothing"}]
