from __future__ import annotations

from typing import Any

from flywheel.results import EvalItem, Prediction
from flywheel.verdicts.cascade_signals import Routable, request_lengths, routable
from flywheel.verdicts.contenders import ItemFrame
from tests.fakes.chat_server import completion


def items(count: int) -> list[EvalItem]:
    return [
        EvalItem(
            f"i{n}", {"messages": [{"role": "user", "content": "x" * (n + 1)}]}, completion("a"), f"c{n}"
        )
        for n in range(count)
    ]


def made(predictions: list[Prediction], metric: str = "exact_match") -> Routable:
    asked = items(len(predictions))
    return routable(ItemFrame.of(asked), request_lengths(asked), predictions, metric)


def answer(number: int, *tools: str, **fields: Any) -> Prediction:
    values: dict[str, Any] = {"response": {}, "scores": {"exact_match": 1.0}}
    return Prediction(f"i{number}", tool_calls=[{"name": name} for name in tools], **(values | fields))


def test_an_answer_is_known_by_the_tools_that_it_calls_itself_and_no_answer_by_nothing() -> None:
    failed = answer(3, response=None, error="gone", scores={"exact_match": None})
    found = made([answer(0, "b", "a", "b"), answer(1), answer(2, "a"), failed])
    (signal,) = found.signals
    assert (signal.name, signal.values) == ("answer class", ["a+b", "no_tool", "a", None])
    assert found.scored.values == [1.0, 1.0, 1.0, None]


def test_requests_are_grouped_by_length_into_parts_of_about_one_size() -> None:
    (signal,) = made([answer(n) for n in range(60)]).signals
    assert signal.name == "request length"
    assert list(dict.fromkeys(signal.values)) == [
        f"{1 + 12 * k} to {12 + 12 * k} characters" for k in range(5)
    ]
    assert all(signal.values.count(value) == 12 for value in signal.values)


def test_confidence_is_a_signal_only_where_the_endpoint_told_it() -> None:
    (signal,) = made([answer(0, mean_logprob=-0.5), answer(1, mean_logprob=-0.1), answer(2)]).signals
    assert (signal.name, signal.values) == ("confidence", [-0.5, -0.1, None])


def test_items_that_the_score_does_not_apply_to_are_left_out() -> None:
    found = made([answer(0, scores={"similarity": 0.5}), answer(1, "x", scores={})], "similarity")
    assert (found.ids, found.scored.values) == (["i0"], [0.5])
