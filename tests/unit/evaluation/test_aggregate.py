from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import DataError
from flywheel.evaluation.aggregate import (
    aggregate,
    percentile,
    score_predictions,
    scores_of,
    usage_of,
)
from flywheel.evaluation.statistics import mean_score
from flywheel.results import Prediction
from flywheel.verdicts.contenders import ItemFrame, scores_by_metric
from flywheel.verdicts.estimates import mean_of
from tests.unit.evaluation.cases import calls, item, text

BERLIN = calls(("get_weather", {"city": "Berlin"}))
ITEMS = [item(BERLIN, "a"), item(BERLIN, "b"), item(text("Hello"), "c"), item(BERLIN, "d")]
LINES = [
    Prediction("c", BERLIN, latency_ms=30.0),
    Prediction("a", BERLIN, latency_ms=10.0),
    Prediction("b", None, error="timed out"),
]


def test_an_evaluation_counts_items_scores_and_what_has_none() -> None:
    found = aggregate(ITEMS, score_predictions(ITEMS, LINES), eval_type="base-eval", model="small")
    strict = found.scores["function_name_and_args_accuracy"]
    assert (strict.value, strict.n, strict.unscored) == (0.5, 2, 2)
    assert strict.interval is not None
    assert (found.scores["exact_match"].value, found.scores["exact_match"].n) == (0, 1)
    assert (found.items, found.primary) == (4, "function_name_and_args_accuracy")


def test_predictions_may_be_missing_and_count_as_unscored() -> None:
    found = aggregate(ITEMS, [], eval_type="icl-eval", model="small")
    assert {(s.value, s.n) for s in found.scores.values()} == {(None, 0)}
    assert found.scores["function_name"].unscored == 4
    assert found.progress == 0


def test_every_answer_of_an_evaluation_counts_once_in_every_metric_that_applies() -> None:
    scored = score_predictions(ITEMS, LINES)
    scores = scores_of(ITEMS, {p.id: p for p in scored})
    assert {metric: s.n + s.unscored for metric, s in scores.items()} == {
        "function_name": 4,
        "function_name_and_args_accuracy": 4,
        "tool_call_partial": 4,
        "exact_match": 1,
        "rouge_l": 1,
        "bleu": 1,
        "chrf": 1,
    }


def test_intervals_know_which_items_belong_together() -> None:
    apart = [item(BERLIN, f"i{n}") for n in range(10)]
    together = [item(BERLIN, f"i{n}", cluster=f"c{n // 5}") for n in range(10)]
    lines = [Prediction(f"i{n}", BERLIN if n % 3 else text("no")) for n in range(10)]
    metric = "function_name_and_args_accuracy"
    wide = scores_of(together, {p.id: p for p in score_predictions(together, lines)})[metric].interval
    narrow = scores_of(apart, {p.id: p for p in score_predictions(apart, lines)})[metric].interval
    assert wide is not None
    assert narrow is not None
    assert wide.high - wide.low > narrow.high - narrow.low


def test_scored_predictions_come_in_the_order_of_the_items() -> None:
    scored = score_predictions(ITEMS, LINES)
    assert [p.id for p in scored] == ["a", "b", "c", "d"]
    assert scored[3].error == "no prediction for this item"


def test_strangers_and_duplicates_are_refused() -> None:
    with pytest.raises(DataError, match="belong to no item"):
        score_predictions(ITEMS, [Prediction("x", BERLIN)])
    with pytest.raises(DataError, match="two predictions"):
        score_predictions(ITEMS, [LINES[0], LINES[0]])


def test_usage_sums_tokens_and_orders_latencies() -> None:
    usage = usage_of(score_predictions(ITEMS, LINES))
    assert (usage.answered, usage.errors) == (2, 2)
    assert (usage.tokens_in, usage.tokens_out) == (22, 6)
    assert (usage.latency_ms_mean, usage.latency_ms_p50) == (20, 20)
    assert usage.latency_ms_p95 == pytest.approx(29)
    assert usage_of([]).latency_ms_p95 is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.floats(0, 1))
def test_a_percentile_lies_within_the_values(values: list[float], share: float) -> None:
    found = percentile(sorted(values), share)
    assert found is not None
    assert min(values) <= found <= max(values) * (1 + 1e-12)


def test_finish_reasons_and_times_to_the_first_token_are_those_of_the_answers() -> None:
    lines = [
        Prediction(str(n), {}, finish_reason=reason, ttft_ms=10.0 * n)
        for n, reason in enumerate(["stop", "length", "stop", None])
    ]
    usage = usage_of(lines)
    assert usage.finish_reasons == {"stop": 2, "length": 1}
    assert (usage.ttft_ms_p50, usage.ttft_ms_p95) == (15, pytest.approx(28.5))


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, None]), st.integers(1, 5), st.sampled_from("xyz")), min_size=1
    )
)
def test_the_score_by_traffic_is_the_weighted_mean_that_verdicts_go_by(
    drawn: list[tuple[float | None, int, str]],
) -> None:
    metric = "function_name"
    items = [
        msgspec.structs.replace(item(BERLIN, f"i{n}"), weight=weight, cluster=cluster)
        for n, (_, weight, cluster) in enumerate(drawn)
    ]
    predictions = {
        f"i{n}": Prediction(f"i{n}", scores={metric: value}) for n, (value, _, _) in enumerate(drawn)
    }
    score = scores_of(items, predictions)[metric]
    values, weights, clusters = zip(*drawn, strict=True)
    once = mean_score(values, clusters, binary=True)
    assert msgspec.structs.replace(score, by_traffic=None) == once
    weighted = mean_score(values, clusters, weights, binary=True)
    judged = mean_of(scores_by_metric(ItemFrame.of(items), predictions.values())[metric])
    if len({weight for value, weight, _ in drawn if value is not None}) < 2:
        assert score.by_traffic is None
        return
    assert score.by_traffic is not None
    assert judged is not None
    assert (score.by_traffic.value, score.by_traffic.interval) == (weighted.value, weighted.interval)
    assert score.by_traffic.value == pytest.approx(judged.value)
