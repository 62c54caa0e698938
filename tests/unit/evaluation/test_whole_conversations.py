"""Conversations are found again among items, and scored as a whole."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.config.metrics import ArgumentConfig
from flywheel.evaluation.aggregate import score_predictions
from flywheel.evaluation.conversations import conversations_of
from flywheel.evaluation.scoring import FUNCTION_NAME_AND_ARGS
from flywheel.evaluation.whole_conversations import Conversations
from flywheel.findings.trajectories import Trajectories
from flywheel.results import EvalItem, Prediction
from tests.fakes.chat_server import completion
from tests.unit.evaluation.cases import TRACK, WEATHER, calls, text

Message = dict[str, Any]


def said(response: dict[str, Any]) -> Message:
    message: Message = response["choices"][0]["message"]
    return message


def walk(name: str, *answers: dict[str, Any], named: bool = False, opening: str = "") -> list[EvalItem]:
    """A conversation step by step: each request holds what was said before. Later steps stand first."""
    history: list[Message] = [{"role": "user", "content": opening or f"begin {name}"}]
    steps = []
    for number, answer in enumerate(answers):
        request = {"messages": list(history), "tools": [WEATHER, TRACK]}
        conversation = name if named else None
        at = 1000.0 + number if named else None
        steps.append(EvalItem(f"{name}{number}", request, answer, name, 1, conversation, at))
        history += [said(answer), {"role": "user", "content": f"{name} goes on {number}"}]
    return steps[::-1]


def names(items: list[EvalItem]) -> list[list[str]]:
    return [[items[place].id for place in places] for places in conversations_of(items)]


def test_steps_are_found_by_what_they_begin_with_and_stand_in_the_order_in_which_they_were_asked() -> None:
    items = [
        *walk("a", text("1"), text("2"), text("3")),
        *walk("b", text("alone")),
        *walk("c", text("1"), text("2")),
    ]
    assert names(items) == [["a0", "a1", "a2"], ["c0", "c1"]]


def test_a_beginning_that_parts_later_belongs_to_both_conversations() -> None:
    one = walk("a", text("same"), text("2"))
    other = [step for step in walk("a", text("same"), text("else")) if step.id != "a0"]
    parted = EvalItem("b1", {**other[0].request, "temperature": 1}, other[0].response, "a")
    parted.request["messages"][-1] = {"role": "user", "content": "another way"}
    assert names([*one, parted]) == [["a0", "a1"], ["a0", "b1"]]


def test_a_history_that_is_spelled_otherwise_is_the_same_history() -> None:
    (second, first) = walk("a", calls(("track_order", '{"id": "7"}')), text("there"))
    parsed = json.loads(json.dumps(first.response))
    said(parsed)["tool_calls"][0]["function"]["arguments"] = {"id": "7"}
    spelled = EvalItem("a0", first.request, parsed, "a")
    assert names([second, spelled]) == [["a0", "a1"]]


def test_an_id_joins_steps_whose_history_was_cut_off_and_their_times_order_them() -> None:
    items = [
        EvalItem(
            f"s{n}", {"messages": [{"role": "user", "content": f"{n}"}]}, text("ok"), "c", 1, "talk", 9.0 - n
        )
        for n in range(3)
    ]
    assert names(items) == [["s2", "s1", "s0"]]
    assert names([EvalItem("x", items[0].request, text("ok"), "c", 1, "other", 1.0)]) == []


def test_a_step_that_stands_for_two_conversations_is_a_step_of_each() -> None:
    # Word by word the same beginning was asked in "b" as well; one item is left of both.
    (b1, _) = walk("b", text("1"), text("2"), named=True, opening="hello")
    (a1, a0) = walk("a", text("1"), text("other"), named=True, opening="hello")
    assert names([b1, a1, a0]) == [["a0", "b1"], ["a0", "a1"]]


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_items_changes_no_conversation(luck: random.Random) -> None:
    items = [*walk("a", text("1"), text("2"), text("3")), *walk("b", text("1"), text("2"), named=True)]
    assert sorted(names(luck.sample(items, len(items)))) == [["a0", "a1", "a2"], ["b0", "b1"]]


def go(city: str) -> dict[str, Any]:
    return calls(("get_weather", {"city": city}))


def scored(
    items: list[EvalItem],
    answers: dict[str, dict[str, Any] | None],
    rules: tuple[ArgumentConfig, ...] = (),
    primary: str = FUNCTION_NAME_AND_ARGS,
) -> Trajectories:
    predictions = [
        Prediction(name, response, error=None if response else "gone") for name, response in answers.items()
    ]
    found = Conversations(items, rules).scored(
        "small", "base-eval", score_predictions(items, predictions, rules), primary
    )
    assert found is not None
    return found


ITEMS = [
    *walk("a", go("Bern"), go("Rome"), text("done")),
    *walk("b", go("Oslo"), text("done")),
    *walk("c", go("Lima"), go("Kyiv")),
]
RIGHT: dict[str, dict[str, Any] | None] = {item.id: item.response for item in ITEMS}


def test_production_itself_goes_its_own_way_to_the_end() -> None:
    found = scored(ITEMS, RIGHT)
    assert (found.conversations, found.steps) == (3, 7)
    for share in (found.all_agree, found.agreeing, found.calls_in_order, found.calls_any_order):
        assert share is not None
        assert (share.value, share.n, share.unscored) == (1.0, 3, 0)
        assert share.interval is not None
        assert share.interval.low < 1.0 == share.interval.high
    assert found.agreeing_steps == pytest.approx(7 / 3)
    assert found.first_divergence == []


def test_one_wrong_step_costs_its_conversation_and_says_where_it_left() -> None:
    found = scored(ITEMS, {**RIGHT, "a1": go("Paris"), "c0": text("no"), "b1": text("worded otherwise")})
    assert found.all_agree.value == pytest.approx(1 / 3)  # calling nothing was right in b
    assert found.agreeing.value == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert found.agreeing_steps == pytest.approx((1 + 2 + 0) / 3)
    assert found.first_divergence == [1, 1]  # c at its first step, a at its second


def test_calls_in_another_order_are_the_same_calls_and_not_the_same_way() -> None:
    found = scored(ITEMS, {**RIGHT, "a0": go("Rome"), "a1": go("Bern")})
    assert found.calls_in_order is not None
    assert found.calls_any_order is not None
    assert found.calls_in_order.value == pytest.approx(2 / 3)
    assert found.calls_any_order.value == 1.0


def test_calls_of_one_step_have_no_order() -> None:
    both = calls(("get_weather", {"city": "Bern"}), ("track_order", {"id": "1"}))
    turned = calls(("track_order", {"id": "1"}), ("get_weather", {"city": "Bern"}))
    items = walk("a", both, text("done"))
    found = scored(items, {"a0": turned, "a1": text("done")})
    assert found.calls_in_order is not None
    assert (found.all_agree.value, found.calls_in_order.value) == (1.0, 1.0)


def test_arguments_compare_in_a_conversation_as_they_do_in_a_step() -> None:
    answers = {**RIGHT, "a1": go("rome")}
    found = scored(ITEMS, answers, (ArgumentConfig(tool="*", argument="city", compare="text"),))
    assert found.calls_in_order is not None
    assert (found.all_agree.value, found.calls_in_order.value) == (1.0, 1.0)
    assert scored(ITEMS, answers).all_agree.value == pytest.approx(2 / 3)


def test_a_step_without_an_answer_leaves_its_conversation_unscored_unless_it_was_left_before() -> None:
    found = scored(ITEMS, {**RIGHT, "a1": None, "c0": go("Paris"), "c1": None})
    assert (found.all_agree.value, found.all_agree.n, found.all_agree.unscored) == (0.5, 2, 1)
    assert (found.agreeing.n, found.first_divergence) == (2, [1])
    assert found.calls_in_order is not None
    assert (found.calls_in_order.n, found.calls_in_order.unscored) == (1, 2)


def test_without_tools_a_step_agrees_word_for_word_and_there_are_no_calls() -> None:
    items = [
        EvalItem(item.id, {"messages": item.request["messages"]}, item.response, item.cluster)
        for item in walk("a", text("one"), text("two"))
    ]
    found = scored(items, {"a0": text("one"), "a1": text("two words")}, primary="rouge_l")
    assert (found.metric, found.all_agree.value, found.first_divergence) == ("exact_match", 0.0, [0, 1])
    assert (found.calls_in_order, found.calls_any_order) == (None, None)


def test_a_main_score_of_yes_and_no_decides_what_agrees() -> None:
    answers = [Prediction(i.id, completion(), scores={"policy": float(i.id != "b0")}) for i in ITEMS]
    found = Conversations(ITEMS).scored("small", "base-eval", answers, "policy")
    assert found is not None
    assert (found.metric, found.first_divergence) == ("policy", [1])


def test_single_calls_are_no_conversations_and_have_no_score() -> None:
    items = walk("a", text("1"))
    assert Conversations(items).scored("small", "base-eval", [], "rouge_l") is None
