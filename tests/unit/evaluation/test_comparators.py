from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.config import ArgumentConfig
from flywheel.evaluation.argument_values import equal_keys, equal_values
from flywheel.evaluation.comparators import Rule, follows, plain_text, rule_of, with_rules
from flywheel.evaluation.scoring import score_answer
from tests.unit.evaluation.cases import calls, item

BOOK: dict[str, Any] = {
    "type": "object",
    "properties": {
        "when": {"type": "string", "format": "date-time"},
        "note": {"type": "string"},
        "guests": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "room_id": {"type": "string"},
        "price": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "at": {"$ref": "#/$defs/place"},
    },
    "required": ["when", "note"],
    "$defs": {"place": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def rule(argument: str, compare: Any, tool: str = "*", tolerance: float = 0.0) -> ArgumentConfig:
    return ArgumentConfig(tool=tool, argument=argument, compare=compare, tolerance=tolerance)


def equal(reference: dict[str, Any], candidate: dict[str, Any], *rules: ArgumentConfig) -> bool:
    schema = with_rules({"book": BOOK}, rules, ["book"])["book"]
    return equal_values(reference, candidate, schema)


def test_times_are_compared_by_instant_where_the_schema_says_that_they_are_times() -> None:
    berlin, utc = "2026-03-01T11:00:00+01:00", "2026-03-01T10:00:00Z"
    assert equal({"when": berlin}, {"when": utc})
    assert not equal({"when": berlin}, {"when": "2026-03-01T11:00:00Z"})
    assert not equal({"when": berlin}, {"when": "2026-03-01T11:00:00"})  # whose eleven o'clock?
    assert equal({"when": "2026-03-01T11:00"}, {"when": "2026-03-01T11:00:00.000"})  # the same on every clock
    assert not equal({"note": berlin}, {"note": utc})


@pytest.mark.parametrize("name", ["id", "room_id", "roomId", "order-id", "user_uuid"])
def test_identifiers_are_compared_to_the_letter_by_the_name_of_the_argument(name: str) -> None:
    assert not equal_values({name: "A-1"}, {name: "A-1 "})
    assert equal_values({f"{name}_note": "A-1"}, {f"{name}_note": "A-1 "})


@pytest.mark.parametrize("name", ["valid", "paid", "hybrid", "idea", "android"])
def test_words_that_only_sound_like_identifiers_are_none(name: str) -> None:
    assert equal_values({name: "yes"}, {name: "yes "})


@pytest.mark.parametrize("form", ["uuid", "email", "uri"])
def test_formats_of_names_are_compared_to_the_letter(form: str) -> None:
    assert not equal_values("a@b.c", "a@b.c ", {"type": "string", "format": form})


@pytest.mark.parametrize(
    ("compare", "reference", "candidate", "same"),
    [
        ("text", "Late arrival, please!", "late  arrival please", True),
        ("text", "late arrival", "early arrival", False),
        ("text", "?!", "!?", False),
        ("text", "１２", "12", True),
        ("text", 5, 5.0, False),
        ("number", "5", 5.0, True),
        ("number", "five", "five", True),
        ("number", "five", "Five", False),
        ("number", True, 1, False),
        ("number", 1e308, 1e309, False),
        ("date", "2026-03-01T11:00:00+01:00", "2026-03-01T10:00:00Z", True),
        ("date", "2026-03-01", "2026-03-01T00:00:00", True),
        ("date", "2026-03-01", "20260301", True),
        ("date", "2026-03-01", "2026-03-02", False),
        ("date", "tomorrow", "Tomorrow", False),
        ("exact", "a", "a ", False),
        ("set", ["a", "b"], ["b", "a "], True),
        ("set", ["a", "b"], ["b", "b"], False),
        ("set", "ab", "ba", False),
        ("ignore", "a", {"b": [1]}, True),
    ],
)
def test_a_rule_decides_in_place_of_the_schema(
    compare: str, reference: Any, candidate: Any, same: bool
) -> None:
    assert equal({"note": reference}, {"note": candidate}, rule("note", compare)) is same


def test_a_tolerance_is_the_largest_difference_that_counts_as_equal() -> None:
    assert equal({"price": 10}, {"price": 10.5}, rule("price", "number", tolerance=0.5))
    assert not equal({"price": 10}, {"price": 10.6}, rule("price", "number", tolerance=0.5))
    hour = rule("when", "date", tolerance=3600)
    assert equal({"when": "2026-03-01T10:00:00Z"}, {"when": "2026-03-01T11:00:00Z"}, hour)


def test_what_is_ignored_may_be_missing_even_where_it_is_required() -> None:
    assert equal({"when": "x", "note": "a"}, {"when": "x"}, rule("note", "ignore"))
    schema = with_rules({"book": BOOK}, [rule("note", "ignore")], [])["book"]
    assert equal_keys({"when": "x", "note": "a"}, {"when": "y", "note": "b"}, schema) == (0, 1)


def test_rules_reach_into_objects_lists_references_and_branches() -> None:
    assert equal({"guests": [{"name": "ANN"}]}, {"guests": [{"name": "ann"}]}, rule("guests[].name", "text"))
    assert equal({"at": {"city": "BERLIN"}}, {"at": {"city": "Berlin"}}, rule("at.city", "text"))
    assert equal({"price": "10"}, {"price": 10}, rule("price", "number"))


def test_the_first_rule_that_fits_counts_and_a_tool_of_another_name_is_none_of_its_business() -> None:
    assert not equal({"note": "A"}, {"note": "a"}, rule("note", "exact"), rule("note", "text"))
    assert equal({"note": "A"}, {"note": "a"}, rule("note", "text"), rule("note", "exact"))
    assert not equal({"note": "A"}, {"note": "a"}, rule("note", "text", tool="cancel"))


def test_a_rule_holds_for_a_tool_without_a_schema_in_strict_and_partial_scores() -> None:
    question = item(calls(("lookup", {"name": "ANN", "city": "Rome"})), tools=[])
    answer = calls(("lookup", {"name": "ann", "city": "Rom"}))
    without = score_answer(question, answer)
    assert (without["function_name_and_args_accuracy"], without["tool_call_partial"]) == (0.0, 0.5)
    some = score_answer(question, answer, rules=[rule("name", "text")])
    assert (some["function_name_and_args_accuracy"], some["tool_call_partial"]) == (0.0, 0.75)
    both = score_answer(question, answer, rules=[rule("name", "text"), rule("city", "ignore", "lookup")])
    assert both["function_name_and_args_accuracy"] == 1.0


def test_a_logged_schema_cannot_hold_a_rule_and_is_not_changed() -> None:
    assert rule_of({"flywheel rule": ["ignore", 0]}) is None
    before = repr(BOOK)
    with_rules({"book": BOOK}, [rule("note", "text"), rule("guests[].name", "exact")], [])
    assert repr(BOOK) == before


JSON = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.text())
)


@given(JSON, st.sampled_from(["exact", "text", "number", "date", "set", "ignore"]))
def test_a_value_equals_itself_under_every_rule(value: Any, compare: Any) -> None:
    assert equal({"note": value}, {"note": value}, rule("note", compare))
    assert compare == "set" or follows(Rule(compare), value, value)


@given(st.text())
def test_plain_text_is_plain_already(text: str) -> None:
    assert plain_text(plain_text(text)) == plain_text(text)
