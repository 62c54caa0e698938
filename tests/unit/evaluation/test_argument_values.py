from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.evaluation.argument_values import equal_keys, equal_values

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
SCHEMAS: list[Any] = [
    None,
    True,
    {"type": "string"},
    {"type": "string", "enum": ["a"]},
    {"type": ["integer", "null"]},
    {"type": "array", "uniqueItems": True, "items": {"type": "number"}},
    {"type": "object", "properties": {"a": {"type": "number", "default": 1}}, "required": ["b"]},
    {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}], "$defs": {"x": {"type": "boolean"}}},
    {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
    {"$ref": "#"},
    {"type": 7, "properties": [], "required": "a", "anyOf": "b", "items": 3},
]


@given(JSON, st.sampled_from(SCHEMAS))
def test_a_value_equals_itself_under_any_schema(value: Any, schema: Any) -> None:
    assert equal_values(value, value, schema)


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        (1, 1.0),
        (0.1 + 0.2, 0.3),
        (" Berlin", "Berlin "),
        ("é", "e\u0301"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_the_same_value_in_another_spelling_is_equal(reference: Any, candidate: Any) -> None:
    assert equal_values(reference, candidate)


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        (1, True),
        (0, False),
        (1, "1"),
        (True, "true"),
        (None, ""),
        (None, 0),
        (None, {}),
        ("Berlin", "berlin"),
        ("a b", "a  b"),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ([], {}),
        (12345678901234567890, 12345678901234567891),
        (1756000000000, 1756000000500.0),  # within a fraction's tolerance, and half a second apart
        (10**400, 0.5),
        ({"a": 1}, {}),
        ({"a": None}, {}),
        ({}, {"a": None}),
    ],
)
def test_values_that_a_tool_would_take_differently_are_not_equal(reference: Any, candidate: Any) -> None:
    assert not equal_values(reference, candidate)
    assert not equal_values(candidate, reference)


def test_a_number_as_text_breaks_a_numeric_schema_and_is_wrong() -> None:
    assert not equal_values(5, "5", {"type": "integer"})


def test_a_reference_logged_as_text_is_read_as_its_schema_says() -> None:
    assert equal_values("5", 5, {"type": "integer"})
    assert equal_values("5", "5", {"type": "integer"})
    assert equal_values("true", True, {"type": "boolean"})
    assert not equal_values("5", 5, {"type": "string"})
    assert not equal_values("1", True, {"type": "boolean"})
    assert not equal_values("five", 5, {"type": "integer"})


def test_identifiers_are_compared_exactly() -> None:
    assert not equal_values("C", " C", {"type": "string", "enum": ["C", " C"]})
    assert not equal_values("A-1", "A-1 ", {"type": "string", "pattern": "^A"})


def test_order_counts_unless_the_schema_says_that_items_are_a_set() -> None:
    schema = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    assert equal_values(["a", "b", "c"], ["c", " a", "b"], schema)
    assert not equal_values(["a", "b"], ["a", "c"], schema)
    assert not equal_values(["a", "b"], ["b", "a"], {**schema, "uniqueItems": False})


def test_an_optional_argument_left_out_equals_its_default() -> None:
    schema = {"type": "object", "properties": {"days": {"type": "integer", "default": 1}}, "required": []}
    assert equal_values({}, {"days": 1}, schema)
    assert equal_values({"days": 1.0}, {}, schema)
    assert not equal_values({}, {"days": 2}, schema)


def test_a_required_argument_left_out_equals_nothing_not_even_its_default() -> None:
    schema = {
        "type": "object",
        "properties": {"days": {"type": "integer", "default": 1}},
        "required": ["days"],
    }
    assert not equal_values({"days": 1}, {}, schema)


def test_null_equals_absence_only_where_the_schema_admits_it() -> None:
    nullable = {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}
    assert equal_values({"a": None}, {}, nullable)
    assert not equal_values({"a": None}, {}, {"type": "object", "properties": {"a": {"type": "string"}}})


def test_references_and_all_of_are_followed() -> None:
    schema = {
        "type": "object",
        "$defs": {"when": {"type": "object", "properties": {"hour": {"type": "integer", "default": 12}}}},
        "properties": {"at": {"$ref": "#/$defs/when"}, "until": {"allOf": [{"$ref": "#/$defs/when"}]}},
    }
    assert equal_values({"at": {}, "until": {"hour": 12}}, {"at": {"hour": 12}, "until": {}}, schema)


def test_what_stands_beside_any_of_holds_in_every_branch() -> None:
    schema = {
        "properties": {"a": {"type": "integer", "default": 3}},
        "anyOf": [{"required": ["b"]}, {"required": ["c"]}],
    }
    assert equal_values({"b": 1}, {"b": 1, "a": 3}, schema)


def test_a_schema_without_end_ends() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    endless = {"anyOf": [{"items": {"$ref": "#"}, "title": "x"}, {"items": {"$ref": "#"}, "title": "y"}]}
    assert equal_values(deep, deep, endless)
    assert not equal_values(deep, [deep], endless)


def test_keys_are_counted_on_both_sides() -> None:
    assert equal_keys({"a": 1, "b": 2}, {"a": 1, "c": 3}) == (1, 3)
    assert equal_keys({}, {}) == (0, 0)
