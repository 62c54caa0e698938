from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.multitest import multipletests

from flywheel.config import ThresholdsConfig
from flywheel.findings.analysis import Bounds, Costs, Verdict
from flywheel.results import EvalItem, Prediction
from flywheel.verdicts.ceilings import repeats_scored, standard_of
from flywheel.verdicts.comparisons import comparisons_of, mcnemar, paired_difference
from flywheel.verdicts.conclusion import conclusion_of, money
from flywheel.verdicts.contenders import Contender, ItemFrame, Standard, scores_by_metric, wrong_actions
from flywheel.verdicts.estimates import Scored
from flywheel.verdicts.multiplicity import holm
from flywheel.verdicts.noninferiority import points, verdicts_of
from tests.unit.evaluation.cases import calls, item, text

METRIC = "function_name_and_args_accuracy"


def scored(right: int, wrong: int = 0, unscored: int = 0) -> Scored:
    values: list[float | None] = [1.0] * right + [0.0] * wrong + [None] * unscored
    return Scored(values, list(range(len(values))), [1.0] * len(values))


def contender(scores: Scored, name: str = "a", eval_type: str = "base-eval", **fields: Any) -> Contender:
    return Contender(name, eval_type, METRIC, {METRIC: scores}, **fields)


ASSUMED = standard_of(METRIC, None, None, 20)


def verdict(scores: Scored, standard: Standard = ASSUMED, **thresholds: Any) -> Verdict:
    fields = {
        name: thresholds.pop(name)
        for name in ("latency_ms_p95", "cost_per_request", "wrong_actions")
        if name in thresholds
    }
    [found] = verdicts_of([contender(scores, **fields)], standard, ThresholdsConfig(**thresholds))
    return found


def test_a_candidate_that_is_surely_within_the_margin_is_surfaced() -> None:
    found = verdict(scored(198, 2))
    assert found.outcome == "surfaced"
    assert found.difference.value == pytest.approx(-0.01)
    assert found.difference.interval is not None
    assert found.difference.interval.low > -0.05
    assert found.items_needed is None
    assert "not worse by more than 5 points" in found.reason


def test_a_candidate_that_is_surely_beyond_it_is_not() -> None:
    found = verdict(scored(30, 10))
    assert found.outcome == "not_surfaced"
    assert found.difference.interval is not None
    assert found.difference.interval.high < -0.05


def test_a_difference_that_was_not_seen_is_no_proof_of_equality() -> None:
    found = verdict(scored(20))  # every answer right, on twenty items
    assert found.outcome == "cannot_tell"
    assert found.items_needed is not None
    assert 60 < found.items_needed < 200
    assert str(found.items_needed) in found.reason


def test_a_larger_margin_surfaces_what_a_smaller_one_leaves_open() -> None:
    assert verdict(scored(38, 2), margin=0.2).outcome == "surfaced"
    assert verdict(scored(38, 2), margin=0.05).outcome == "cannot_tell"


def test_items_without_a_score_speak_for_nobody() -> None:
    # Right on all that it answered, but a fifth is missing.
    found = verdict(scored(160, 0, 40))
    assert found.outcome == "cannot_tell"
    assert found.items_needed is None
    assert "40 items have no score" in found.reason
    assert found.unscored == 40
    # Surely too bad on what it answered, if the rest were not right: more items of this kind would not tell either.
    found = verdict(scored(30, 6, 20))
    assert found.difference.interval is not None
    assert found.difference.interval.high < -0.05
    assert (found.outcome, found.items_needed) == ("cannot_tell", None)
    assert (
        "20 items have no score; were they right, it need not be worse by more than 5 points" in found.reason
    )
    # Wrong on all that it answered: even if it were right on the rest it would be too bad.
    assert verdict(scored(0, 100, 20)).outcome == "not_surfaced"
    assert verdict(scored(0, 0, 20)).outcome == "cannot_tell"


def test_production_asked_again_is_what_candidates_are_held_against_item_by_item() -> None:
    # Production itself gives another answer to a tenth; the candidate errs on the same items.
    values = [1.0] * 180 + [0.0] * 20
    replayed = Scored(values, list(range(200)), [1.0] * 200)
    standard = standard_of(METRIC, replayed, scored(100), 20)
    assert standard.ceiling.source == "replayed"
    found = verdict(replayed, standard)
    assert found.outcome == "surfaced"
    assert found.difference.value == 0
    assert verdict(replayed).outcome == "not_surfaced"  # against perfect agreement


def test_noise_in_the_log_lowers_the_bar_by_what_is_known_of_it() -> None:
    few, many = standard_of(METRIC, None, scored(19, 2), 20), standard_of(METRIC, None, scored(1800, 200), 20)
    assert many.ceiling.source == "teacher_noise"
    assert many.ceiling.value == pytest.approx(0.9)
    assert verdict(scored(270, 30), many).outcome == "surfaced"
    assert verdict(scored(270, 30), few).outcome == "cannot_tell"  # 21 repeats say little of the noise
    assert standard_of(METRIC, None, scored(9, 1), 20).ceiling.source == "assumed"


def test_of_many_candidates_a_lucky_one_is_not_surfaced() -> None:
    lucky = contender(scored(76, 0), "lucky")
    alone = verdicts_of([lucky], ASSUMED, ThresholdsConfig())
    assert alone[0].outcome == "surfaced"
    crowd = [contender(scored(70, 6), f"c{n}") for n in range(9)]
    among = verdicts_of([lucky, *crowd], ASSUMED, ThresholdsConfig())[0]
    assert among.outcome == "cannot_tell"
    assert "luck" in among.reason
    assert among.p_adjusted > among.p_not_worse  # type: ignore[operator]


def test_of_many_candidates_an_unlucky_one_is_not_turned_down() -> None:
    unlucky = contender(scored(31, 6), "unlucky")
    assert verdicts_of([unlucky], ASSUMED, ThresholdsConfig())[0].outcome == "not_surfaced"
    crowd = [contender(scored(36, 1), f"c{n}") for n in range(9)]
    among = verdicts_of([unlucky, *crowd], ASSUMED, ThresholdsConfig())[0]
    assert among.outcome == "cannot_tell"
    assert "Alone it would be worse by more than 5 points; among so many candidates" in among.reason


def test_how_often_a_candidate_that_is_too_bad_is_surfaced_all_the_same() -> None:
    # At the margin itself the error must not exceed its level, here 2.5 %, however large the set.
    generator = np.random.default_rng(7)
    for n in (40, 200):
        wrong = sum(
            verdict(scored(right, n - right)).outcome == "surfaced"
            for right in generator.binomial(n, 0.95, 200).tolist()
        )
        assert wrong / 200 <= 0.05


def test_thresholds_keep_a_candidate_from_being_surfaced_and_say_which() -> None:
    good = scored(398, 2)
    assert verdict(good, min_score={METRIC: 0.99}).outcome == "surfaced"
    missed = verdict(good, min_score={METRIC: 0.999})
    assert missed.outcome == "not_surfaced"
    assert "0.999" in missed.reason
    slow = verdict(good, max_latency_ms_p95=500, latency_ms_p95=900.0)
    assert slow.outcome == "not_surfaced"
    assert "latency" in slow.reason
    assert verdict(good, max_latency_ms_p95=500).outcome == "cannot_tell"  # not known
    assert verdict(good, max_cost_per_request=0.01, cost_per_request=0.02).outcome == "not_surfaced"
    assert "not known" in verdict(good, max_cost_per_request=0.01).reason
    assert verdict(good, min_score={"similarity": 0.5}).outcome == "cannot_tell"


def test_a_sensitive_workload_asks_for_more() -> None:
    good = scored(398, 2)
    assert verdict(good, min_score={METRIC: 0.99}, sensitive=True).outcome == "cannot_tell"
    assert verdict(good, min_score={METRIC: 0.97}, sensitive=True).outcome == "surfaced"
    assert verdict(good, wrong_actions=1).outcome == "surfaced"
    acted = verdict(good, wrong_actions=1, sensitive=True)
    assert acted.outcome == "not_surfaced"
    assert "call a tool" in acted.reason


@settings(max_examples=12, deadline=None)  # the witness takes its time
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_what_statsmodels_says(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_what_statsmodels_and_scipy_say(first: int, second: int) -> None:
    expected = mcnemar_of_statsmodels([[5, first], [second, 5]], exact=True).pvalue
    assert mcnemar(first, second) == pytest.approx(expected)
    if first + second:
        assert mcnemar(first, second) == pytest.approx(stats.binomtest(first, first + second).pvalue)


def test_evaluations_are_compared_in_pairs_on_the_same_items() -> None:
    base, tuned = contender(scored(10, 30)), contender(scored(36, 4), eval_type="customized-eval")
    other = contender(scored(35, 5), "b")
    found = comparisons_of([base, tuned, other])
    assert [(c.first, c.second) for c in found] == [
        ("a customized-eval", "a base-eval"),
        ("a customized-eval", "b base-eval"),
    ]
    gain = found[0].difference
    assert gain.value == pytest.approx(0.65)
    assert gain.interval is not None
    assert gain.interval.low > 0
    assert gain.p_value == pytest.approx(mcnemar(26, 0))
    assert gain.p_adjusted is not None
    assert gain.p_adjusted >= gain.p_value
    assert comparisons_of([base]) == []


def test_weighted_or_clustered_items_have_no_mcnemar_but_the_p_value_of_their_interval() -> None:
    first, second = scored(30, 10), scored(20, 20)
    heavy = Scored(second.values, second.clusters, [5.0, *[1.0] * 39])
    plain, weighted = paired_difference(first, second), paired_difference(first, heavy)
    assert plain.p_value == pytest.approx(mcnemar(10, 0))
    assert weighted.p_value is not None
    clustered = Scored(first.values, [0, 0, *range(2, 40)], first.weights)
    assert paired_difference(clustered, second).p_value != plain.p_value


def test_each_repeated_request_counts_once_however_often_it_was_asked() -> None:
    repeated: list[tuple[EvalItem, list[dict[str, Any]]]] = [
        (item(text("yes"), "q1"), [text("yes")] * 9),
        (item(text("yes"), "q2"), [text("no")]),
    ]
    found = repeats_scored(repeated, lambda one, other: float(one.response["choices"] == other["choices"]))
    assert sum(found.weights) == pytest.approx(2)
    standard = standard_of(METRIC, None, found, 2)
    assert standard.ceiling.value == pytest.approx(0.5)


def test_items_weigh_what_they_stand_for_unless_told_otherwise() -> None:
    items = [EvalItem("i0", {}, text("a"), "c0", weight=7), EvalItem("i1", {}, text("b"), "c1")]
    assert ItemFrame.of(items).weights == [7.0, 1.0]
    assert ItemFrame.of(items, "items").weights == [1.0, 1.0]
    assert ItemFrame.of(items).kept({"i1"}).ids == ["i1"]


def test_a_reason_says_when_its_score_is_weighted_by_traffic() -> None:
    heavy = Scored([1.0] * 40, list(range(40)), [3.0, *[1.0] * 39])
    assert "by traffic" in verdict(heavy).reason
    assert "by traffic" not in verdict(scored(40)).reason


def test_a_metric_is_unscored_where_it_applies_and_there_is_no_answer() -> None:
    items = [
        item(calls(("track_order", {"id": "1"})), "call"),
        item(text("hi"), "plain"),
        item(text("yo"), "lost"),
    ]
    frame = ItemFrame.of(items)
    answers = [
        Prediction("call", calls(("track_order", {"id": "1"})), scores={METRIC: 1.0}),
        Prediction("plain", text("hi"), scores={METRIC: 1.0, "rouge_l": 1.0, "similarity": 0.9}),
    ]
    found = scores_by_metric(frame, answers)
    assert found[METRIC].values == [1.0, 1.0, None]
    assert found["rouge_l"].values == [1.0, None]  # does not apply to the call
    assert found["similarity"].values == [
        0.9,
        None,
    ]  # a judge's: the answer that is not there counts as unscored


def test_a_call_that_production_did_not_make_is_a_wrong_action() -> None:
    items = [item(calls(("track_order", {"id": "1"})), "call"), item(text("hi"), "plain")]
    right = {"name": "track_order", "arguments": {"id": "2"}}
    frame = ItemFrame.of(items)
    assert wrong_actions(frame, [Prediction("call", tool_calls=[right]), Prediction("plain")]) == 0
    assert wrong_actions(frame, [Prediction("plain", tool_calls=[right])]) == 1


def test_the_conclusion_names_who_is_surfaced_and_what_it_saves() -> None:
    found = verdicts_of(
        [contender(scored(198, 2)), contender(scored(197, 3), "b")], ASSUMED, ThresholdsConfig()
    )
    cost = Costs("b", "base-eval", per_request=0.001, monthly_savings=Bounds(1234.5, 2345.6))
    text = conclusion_of(found, [cost])
    assert text.startswith("b (base-eval) can be considered")  # the cheaper one goes first
    assert "save 1,230 to 2,350 USD a month" in text
    assert "a (base-eval)" in text
    assert "a person" in text


def test_the_conclusion_explains_why_there_is_no_winner_and_what_to_do() -> None:
    none = conclusion_of(verdicts_of([contender(scored(20, 20))], ASSUMED, ThresholdsConfig()), failed=["z"])
    assert none.startswith("No winner. The closest is a (base-eval).")
    assert "Not evaluated: z." in none
    undecided = conclusion_of(verdicts_of([contender(scored(20))], ASSUMED, ThresholdsConfig()))
    assert undecided.startswith("No winner yet.")
    assert "data_split_config.eval_size" in undecided
    assert "errors say why" in conclusion_of([])
    waits = conclusion_of([], failed=["z"], waiting=["b", "a"])
    assert waits == "No verdict yet: a, b could not begin, and the run can be resumed. Not evaluated: z."


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(0, "0"), (0.01234, "0.0123"), (12.34, "12.3"), (1234.5, "1,230"), (98765.4, "98,800")],
)
def test_money_is_shown_at_three_digits(amount: float, shown: str) -> None:
    assert money(amount) == shown


def test_points_are_shown_as_people_say_them() -> None:
    assert (points(0.05), points(0.01), points(0.032)) == ("5 points", "1 point", "3.2 points")
    assert points(-0.032, signed=True) == "-3.2 points"
