"""Tables on a screen: nothing is left out, and nothing is squeezed that has another place to go."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.cli.show import show_run
from flywheel.cli.table_layout import SENTENCES, layout
from flywheel.config import ConnectionsConfig
from flywheel.findings.analysis import Analysis, Costs
from flywheel.report.analysis_tables import cost_rows
from flywheel.results import RunResult, TrafficMean
from tests.unit.report.full_run import METRIC, full_run

WORDS = st.text("abc 1", min_size=1, max_size=60)


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    columns = draw(
        st.lists(
            st.sampled_from(["name", "kind", "n", "score", "x", *sorted(SENTENCES)]), min_size=1, unique=True
        )
    )
    return draw(st.lists(st.fixed_dictionaries(dict.fromkeys(columns, WORDS)), min_size=1, max_size=5))


@given(tables(), st.integers(20, 200))
def test_every_cell_is_somewhere_whatever_the_width(rows: list[dict[str, Any]], width: int) -> None:
    found = layout(rows, width)
    shown = "\n".join([*found.columns, *(text for line in found.cells for text in line), *found.below])
    assert all(value in shown for row in rows for value in row.values())
    assert {len(line) for line in found.cells} == {len(found.columns)}


def test_a_table_that_is_too_wide_is_turned_round_where_that_fits() -> None:
    row = {"candidate": "small", "evaluation": "base-eval"} | {f"figure number {n}": "0.5" for n in range(9)}
    found = layout([row, row | {"evaluation": "icl-eval"}], 80)
    assert found.columns == ["", "small\nbase-eval", "small\nicl-eval"]
    assert found.cells[0] == ["figure number 0", "0.5", "0.5"]
    assert layout([row], 400).columns == list(row)


def test_a_sentence_that_would_squeeze_the_figures_stands_below_once() -> None:
    rows = [{"candidate": c, "figures": "x" * 60, "note": "y" * 70} for c in "ab"]
    found = layout(rows, 100)
    assert found.columns == ["candidate", "figures"]
    assert found.below == [f"a {'x' * 60}, b {'x' * 60}: note: {'y' * 70}"]


def unpriced_run() -> RunResult:
    ways = ("base-eval", "icl-eval", "customized-eval")
    costs = [
        Costs("small", way, test_time_compute=80.0, missing=["price of small", "price of big (production)"])
        for way in ways
    ]
    conclusion = "No winner: small was not surfaced."
    run = full_run()
    scores = {METRIC: run.candidates[0].evaluations[0].scores[METRIC]}
    (interval,) = [score.interval for score in scores.values() if score.interval]
    scores[METRIC] = msgspec.structs.replace(scores[METRIC], by_traffic=TrafficMean(0.75, interval))
    evaluations = [msgspec.structs.replace(e, scores=scores) for e in run.candidates[0].evaluations]
    return msgspec.structs.replace(
        run,
        workload_id="router",
        production_model="big",
        message=f"1 of 1 candidates completed; {conclusion}",
        analysis=Analysis(conclusion=conclusion, costs=costs),
        candidates=[msgspec.structs.replace(run.candidates[0], evaluations=evaluations)],
        decisions=[],
        load_tests=[],
    )


def test_costs_without_prices_have_no_columns_of_dashes() -> None:
    rows = cost_rows(unpriced_run())
    assert list(rows[0]) == ["candidate", "evaluation", "test-time compute", "missing"]
    assert rows[0]["missing"] == "price of small, price of big (production)"
    priced = cost_rows(full_run())
    assert priced[0]["1,000 requests"] == "0.1 USD (production 2.00 USD)"
    assert priced[1]["1,000 requests"] == "–"  # one of them is known: the other is seen to be missing


def test_a_run_on_the_terminal_says_its_conclusion_once_and_folds_no_score(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_run(unpriced_run(), ConnectionsConfig(), as_json=False, most_divergent=0, all_scores=True)
    shown = capsys.readouterr().out
    assert shown.count("No winner: small was not surfaced.") == 1
    assert "partial. 1 of 1 candidates completed\n" in shown
    assert shown.count("0.300 [0.20, 0.40]  0.750 [0.20, 0.40]") == 6
    assert "Verdicts go by the traffic" in shown
    assert "share of traffic with a workload id" in shown
    assert max(len(line) for line in shown.splitlines() if "eval " in line and ":" not in line) <= 120
