from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.evaluation.tool_calls import calls_of, partial_credit, same_calls, same_names, schemas_of
from tests.unit.evaluation.cases import TRACK, WEATHER

Pairs = list[tuple[str, Any]]
ARGUMENTS = st.dictionaries(
    st.sampled_from(["city", "days", "id"]), st.integers(0, 2) | st.text(max_size=2), max_size=2
)
PAIRS = st.lists(st.tuples(st.sampled_from(["get_weather", "track_order", "other"]), ARGUMENTS), max_size=4)
SCHEMAS = schemas_of({"tools": [WEATHER, TRACK]})


def made(pairs: Pairs, as_text: bool = False) -> Any:
    return calls_of(
        {
            "tool_calls": [
                {"type": "function", "function": {"name": name, "arguments": json.dumps(a) if as_text else a}}
                for name, a in pairs
            ]
        }
    )


@given(PAIRS, st.randoms(use_true_random=False))
def test_calls_equal_themselves_in_any_order_and_in_either_form_of_arguments(
    pairs: Pairs, random: Any
) -> None:
    shuffled = random.sample(pairs, len(pairs))
    assert same_names(made(pairs), made(shuffled, as_text=True))
    assert same_calls(made(pairs), made(shuffled, as_text=True), SCHEMAS)
    assert partial_credit(made(pairs), made(shuffled, as_text=True), SCHEMAS) == 1


@given(PAIRS, PAIRS, st.randoms(use_true_random=False))
def test_order_never_counts(reference: Pairs, candidate: Pairs, random: Any) -> None:
    left, right = made(reference), made(candidate)
    shuffled = made(random.sample(candidate, len(candidate)))
    assert same_calls(left, right, SCHEMAS) == same_calls(left, shuffled, SCHEMAS)
    assert partial_credit(left, right, SCHEMAS) == pytest.approx(partial_credit(left, shuffled, SCHEMAS))


@given(PAIRS, PAIRS)
def test_a_call_that_nobody_asked_for_never_helps(reference: Pairs, candidate: Pairs) -> None:
    left, right = made(reference), made(candidate)
    more = made([*candidate, ("unasked", {})])
    assert not same_names(left, more)
    assert not same_calls(left, more, SCHEMAS)
    assert partial_credit(left, more, SCHEMAS) <= partial_credit(left, right, SCHEMAS)


@given(PAIRS, PAIRS)
def test_the_stricter_score_is_never_the_higher_one(reference: Pairs, candidate: Pairs) -> None:
    left, right = made(reference), made(candidate)
    credit = partial_credit(left, right, SCHEMAS)
    assert 0 <= credit <= 1
    assert same_calls(left, right, SCHEMAS) <= same_names(left, right)
    assert (credit == 1) == same_calls(left, right, SCHEMAS)


def test_a_repeated_call_is_one_too_many() -> None:
    once, twice = made([("f", {"a": 1})]), made([("f", {"a": 1}), ("f", {"a": 1})])
    assert not same_calls(once, twice)
    assert not same_calls(twice, once)
    assert partial_credit(once, twice) == 0.5


def test_parallel_calls_of_one_tool_are_paired_by_what_fits_best() -> None:
    reference = made([("f", {"a": 1, "b": 1}), ("f", {"a": 2, "b": 2})])
    assert partial_credit(reference, made([("f", {"a": 2, "b": 9}), ("f", {"a": 1, "b": 1})])) == 0.875


def test_pairing_is_not_greedy() -> None:
    # The first candidate fits both references, the second only the first.
    schemas = {"f": {"properties": {"a": {"type": ["integer", "boolean"]}}}}
    reference, candidate = (
        made([("f", {"a": "1"}), ("f", {"a": 1})]),
        made([("f", {"a": 1}), ("f", {"a": "1"})]),
    )
    assert same_calls(reference, candidate, schemas)


def test_a_wrong_number_of_calls_a_wrong_name_and_wrong_arguments_are_all_wrong() -> None:
    reference = made([("f", {"a": 1}), ("g", {})])
    assert not same_calls(reference, made([("f", {"a": 1})]))
    assert not same_calls(reference, made([("f", {"a": 1}), ("h", {})]))
    assert not same_calls(reference, made([("f", {"a": 2}), ("g", {})]))
    assert same_names(reference, made([("g", {}), ("f", {"a": 2})]))


@pytest.mark.parametrize("broken", ['{"a": ', "[1]", "3", "null x", 7, ["a"]])
def test_arguments_that_are_no_object_are_wrong_but_the_name_still_counts(broken: Any) -> None:
    reference = made([("f", {"a": 1})])
    candidate = calls_of({"tool_calls": [{"function": {"name": "f", "arguments": broken}}]})
    assert same_names(reference, candidate)
    assert not same_calls(reference, candidate)
    assert partial_credit(reference, candidate) == 0.5
    assert same_calls(candidate, candidate)


@pytest.mark.parametrize("nothing", [None, "", "  ", "{}", {}])
def test_a_call_without_parameters_may_be_written_in_several_ways(nothing: Any) -> None:
    candidate = calls_of({"tool_calls": [{"function": {"name": "f", "arguments": nothing}}]})
    assert same_calls(made([("f", {})]), candidate)


def test_what_is_no_function_call_still_counts_as_a_call() -> None:
    assert len(calls_of({"tool_calls": [{"type": "custom", "custom": {}}, "nonsense"]})) == 2


def test_the_older_form_of_a_call_counts() -> None:
    older = calls_of({"content": None, "function_call": {"name": "f", "arguments": '{"a": 1}'}})
    assert same_calls(made([("f", {"a": 1})]), older)


def test_a_message_without_calls_has_none() -> None:
    assert calls_of({"content": "hello"}) == []
    assert calls_of({"tool_calls": None}) == []
    assert partial_credit([], []) == 1
    assert partial_credit([], made([("f", {})])) == 0


def test_schemas_are_found_by_name_and_oddities_left_out() -> None:
    request = {
        "tools": [WEATHER, {"type": "function"}, None, {"function": {"name": "bare"}}],
        "functions": [{"name": "older", "parameters": {"type": "object"}}],
    }
    assert set(schemas_of(request)) == {"get_weather", "older"}
    assert schemas_of({"tools": None}) == {}


def test_a_hundred_calls_are_compared_in_no_time() -> None:
    many = [("f", {"a": i}) for i in range(100)]
    assert same_calls(made(many), made(many[::-1]))
    assert partial_credit(made(many), made(many[::-1])) == 1
