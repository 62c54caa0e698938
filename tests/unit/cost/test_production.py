from __future__ import annotations

from pathlib import Path

import numpy as np

from flywheel.cost.production import candidate_calls, production_calls
from flywheel.results import EvalItem, Prediction
from flywheel.verdicts.repeats import repeated_answers
from tests.unit.curation.tables import call, validated
from tests.unit.evaluation.cases import text


def test_tokens_of_production_are_those_of_the_answer_and_else_those_of_the_log(tmp_path: Path) -> None:
    records = validated(tmp_path, [call("r1", "one", time=5.0), call("r2", "two", time=None)])
    stated = {**text("yes"), "model": "large", "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
    unstated = {**text("yes"), "usage": None}
    items = [
        EvalItem("r1", {}, stated, "c1", weight=3),
        EvalItem("r2", {}, unstated, "c2"),
        EvalItem("r9", {}, {}, "c"),
    ]
    calls, times = production_calls(items, records)
    assert [(c.tokens_in, c.tokens_out, c.latency_ms, c.weight) for c in calls] == [
        (7, 2, 12.5, 3.0),
        (None, 3, 12.5, 1.0),  # the log of these tests has tokens_out alone
        (None, None, None, 1.0),  # not in the log any more: unknown, not nothing
    ]
    assert calls[0].model == "large"
    assert times[0] == 5.0
    assert np.isnan(times[1])

    answers = [
        Prediction("r1", text("no"), latency_ms=3.0, tokens_in=9, tokens_out=1),
        Prediction("r2", error="lost"),
    ]
    [ours] = candidate_calls(answers, "small", calls)
    assert (ours.id, ours.model, ours.tokens, ours.latency_ms, ours.weight) == ("r1", "small", 10, 3.0, 3.0)


def test_repeated_requests_come_with_their_answers_and_a_record_logged_twice_is_one(tmp_path: Path) -> None:
    again = [call(f"a{n}", "the same question", answer=f"answer {n % 2}") for n in range(6)]
    twice = [call("b", "logged twice"), call("b", "logged twice")]
    records = validated(tmp_path / "x", [*again, *twice, call("c", "asked once")])
    found = list(repeated_answers(records))
    assert len(found) == 1
    item, others = found[0]
    assert item.request["messages"][-1]["content"] == "the same question"
    assert len(others) == 3
    assert all(len(other["choices"]) == 1 for other in [item.response, *others])
    turned = validated(tmp_path / "y", [call("c", "asked once"), *reversed(again)])
    assert list(repeated_answers(turned)) == found


def test_of_many_repeated_requests_a_fixed_number_is_taken_and_of_none_nothing(tmp_path: Path) -> None:
    calls = [call(f"r{n}-{k}", f"question {n}") for n in range(9) for k in range(2)]
    records = validated(tmp_path / "x", calls)
    assert len(list(repeated_answers(records, most_requests=4))) == 4
    assert list(repeated_answers(validated(tmp_path / "y", [call("c", "asked once")]))) == []
