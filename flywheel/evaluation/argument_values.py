"""When two values of a tool argument mean the same to the tool that receives them.

The rules, in the order of what they look at:

- numbers are equal by value (1 equals 1.0), whole numbers exactly; a boolean is never a number;
- a string is never a number: a tool that takes 5 may refuse "5". One exception favours nobody: where the schema asks
  for a number or a boolean and the *reference* was logged as a string, the reference is read as what the schema says;
- strings are equal after Unicode composition (NFC) and without surrounding white space; exactly where they are
  identifiers: the schema lists the values, a pattern or a format of names, or the argument is called `id` or `..._id`;
- where the schema says `format: date-time`, two times are equal that name one instant in whatever zone, and two
  without a zone that name the same time;
- arrays are equal in order, in any order where the schema says `uniqueItems`;
- objects are equal key by key. A key that one side leaves out equals the schema's default; null where the schema
  admits null and gives no default. A required key that is missing equals nothing.

A rule of the user's own for an argument (`comparators`) stands over all of these.

Without a schema nothing is known of defaults and order, so only the plain rules hold. Known departure from the
Berkeley Function-Calling Leaderboard: there strings are also compared without case and punctuation.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

import msgspec

from flywheel.evaluation.assignment import all_matched
from flywheel.evaluation.comparators import Rule, follows, instant, rule_of
from flywheel.evaluation.schema_view import (
    NO_SCHEMA,
    Schema,
    admits_null,
    alternatives,
    names_an_identifier,
    names_its_values,
    property_schema,
    required_keys,
    resolve,
    types_of,
)

_DEEPEST = 64
_MOST_STEPS = 20_000
_LONGEST_PAIRED = 200
_WHOLE_FLOATS = 2**53


def equal_values(reference: Any, candidate: Any, schema: Any = None) -> bool:
    """Whether `candidate` means the same as `reference` to a tool with this JSON Schema.

    Args:
        reference: Decoded JSON, as production answered.
        candidate: Decoded JSON of the model under test.
        schema: JSON Schema of the value; local `$ref`s refer to it. Anything but an object counts as no schema.

    Values more than 64 levels deep, and schemas that branch without end, are compared to the letter from there on.
    """
    # Most answers that are right are right to the letter, and what equals itself does so under every schema.
    if _canonical(reference) == _canonical(candidate):
        return True
    return _Comparison(schema).equal(reference, candidate, schema, 0)


def equal_keys(
    reference: Mapping[str, Any], candidate: Mapping[str, Any], schema: Any = None
) -> tuple[int, int]:
    """How many keys of two objects agree, and how many there are on either side."""
    return _Comparison(schema).keys(reference, candidate, schema, 0)


class _Comparison:
    """One comparison: the schema that references refer to, and how much work is left."""

    def __init__(self, schema: Any) -> None:
        self._root: Schema = schema if isinstance(schema, Mapping) else NO_SCHEMA
        self._steps = 0

    def equal(self, reference: Any, candidate: Any, schema: Any, depth: int) -> bool:
        self._steps += 1
        if depth > _DEEPEST or self._steps > _MOST_STEPS:
            return _canonical(reference) == _canonical(candidate)
        return any(
            self._equal_under(reference, candidate, branch, depth)
            for branch in alternatives(schema, self._root)
        )

    def keys(
        self, reference: Mapping[str, Any], candidate: Mapping[str, Any], schema: Any, depth: int
    ) -> tuple[int, int]:
        schema = resolve(schema, self._root)
        required = required_keys(schema)
        right = total = 0
        for key in reference.keys() | candidate.keys():
            of_key = property_schema(schema, key, self._root)
            rule = rule_of(of_key)
            if rule is not None and rule.compare == "ignore":
                continue
            total += 1
            if rule is None and names_an_identifier(key) and _are_strings(reference, candidate, key):
                right += bool(reference[key] == candidate[key])
            elif key in reference and key in candidate:
                right += self.equal(reference[key], candidate[key], of_key, depth + 1)
            elif key not in required:
                present = reference[key] if key in reference else candidate[key]
                right += self._equals_absence(present, of_key, depth)
        return right, total

    def _equal_under(self, reference: Any, candidate: Any, schema: Schema, depth: int) -> bool:
        if (rule := rule_of(schema)) is not None:
            return self._equal_by_rule(reference, candidate, schema, rule, depth)
        if isinstance(reference, str) and not isinstance(candidate, str):
            reference = _as_the_schema_says(reference, schema)
        if isinstance(reference, bool) or isinstance(candidate, bool):
            return reference is candidate
        if isinstance(reference, int | float) and isinstance(candidate, int | float):
            return _equal_numbers(reference, candidate)
        if isinstance(reference, str) and isinstance(candidate, str):
            if schema.get("format") == "date-time" and _same_instant(reference, candidate):
                return True
            light = not names_its_values(schema)
            return reference == candidate or (light and _light(reference) == _light(candidate))
        if isinstance(reference, list) and isinstance(candidate, list):
            return self._equal_arrays(reference, candidate, schema, depth)
        if isinstance(reference, Mapping) and isinstance(candidate, Mapping):
            right, total = self.keys(reference, candidate, schema, depth)
            return right == total
        return reference is None and candidate is None

    def _equal_by_rule(self, reference: Any, candidate: Any, schema: Schema, rule: Rule, depth: int) -> bool:
        if rule.compare == "set" and isinstance(reference, list) and isinstance(candidate, list):
            plain = {key: value for key, value in schema.items() if value is not rule}
            return self._equal_arrays(reference, candidate, {**plain, "uniqueItems": True}, depth)
        return follows(rule, reference, candidate)

    def _equals_absence(self, value: Any, schema: Schema, depth: int) -> bool:
        if "default" in schema:
            return self.equal(schema["default"], value, schema, depth + 1)
        return value is None and admits_null(schema)

    def _equal_arrays(self, reference: list[Any], candidate: list[Any], schema: Schema, depth: int) -> bool:
        if len(reference) != len(candidate):
            return False

        def equal(left: Any, right: Any) -> bool:
            return self.equal(left, right, schema.get("items"), depth + 1)

        if schema.get("uniqueItems") is not True:
            return all(map(equal, reference, candidate))
        if sorted(map(_canonical, reference)) == sorted(map(_canonical, candidate)):
            return True
        # Pairing takes the square of the length; a longer list must agree to the letter.
        return len(reference) <= _LONGEST_PAIRED and all_matched(reference, candidate, equal)


def _are_strings(reference: Mapping[str, Any], candidate: Mapping[str, Any], key: str) -> bool:
    return isinstance(reference.get(key), str) and isinstance(candidate.get(key), str)


def _same_instant(reference: str, candidate: str) -> bool:
    left, right = instant(reference), instant(candidate)
    return (
        left is not None
        and right is not None
        and (left.tzinfo is None) == (right.tzinfo is None)  # of one without a zone nobody knows the instant
        and left == right
    )


def _equal_numbers(reference: int | float, candidate: int | float) -> bool:
    if _is_whole(reference) and _is_whole(candidate):
        return reference == candidate
    try:
        # The last digits of a fraction depend on who printed it.
        return math.isclose(reference, candidate, rel_tol=1e-9)
    except OverflowError:  # a whole number beyond every float
        return False


def _is_whole(number: int | float) -> bool:
    # A larger float stands for its neighbours too.
    return isinstance(number, int) or (number.is_integer() and abs(number) < _WHOLE_FLOATS)


def _as_the_schema_says(text: str, schema: Schema) -> Any:
    """`text` as a number or a boolean, where the schema asks for one and does not take strings."""
    types = types_of(schema)
    if "string" in types:
        return text
    try:
        value = msgspec.json.decode(text.strip())
    except (msgspec.DecodeError, RecursionError):
        return text
    if isinstance(value, bool):
        return value if "boolean" in types else text
    if isinstance(value, int | float) and types & {"number", "integer"}:
        return value
    return text


def _light(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _canonical(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
