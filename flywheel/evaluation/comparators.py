"""How single arguments of tools compare where the user says so, in place of what their schema says.

A rule is put into the tool's schema, at the argument it is about, so that whatever walks the schema finds it there.
Rules are objects: nothing that stands in a logged schema can be one.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from flywheel.config.metrics import ArgumentConfig, Compare
from flywheel.evaluation.schema_view import Schema, resolve

_RULE = "flywheel rule"
_ANY = "*"
_STEP = re.compile(r"\[\]|[^.\[\]]+")


class Rule(NamedTuple):
    """How one argument compares; see `metrics_config.arguments`. A tolerance in units of the numbers, or in seconds."""

    compare: Compare
    tolerance: float = 0.0


def rule_of(schema: Mapping[str, Any]) -> Rule | None:
    """The rule that stands in a schema, None where there is none."""
    rule = schema.get(_RULE)
    return rule if isinstance(rule, Rule) else None


def with_rules(
    schemas: Mapping[str, Any], rules: Sequence[ArgumentConfig], tools: Iterable[str]
) -> Mapping[str, Any]:
    """Schemas by tool with the rules in them; of several for one argument the first counts.

    Args:
        schemas: Parameter schemas by tool; not changed.
        tools: Names of the tools that are called, which may have no schema.
    """
    if not rules:
        return schemas
    changed = dict(schemas)
    for rule in reversed(rules):
        for tool in {*changed, *tools} if rule.tool == _ANY else {rule.tool}:
            schema = changed.get(tool)
            root = schema if isinstance(schema, Mapping) else {}
            path = _STEP.findall(rule.argument)
            changed[tool] = _with_rule(root, root, path, Rule(rule.compare, rule.tolerance))
    return changed


def follows(rule: Rule, reference: Any, candidate: Any) -> bool:
    """Whether two values are equal under a rule about single values (any but "set")."""
    if rule.compare == "ignore":
        return True
    if rule.compare in ("text", "judge") and isinstance(reference, str) and isinstance(candidate, str):
        return plain_text(reference) == plain_text(candidate)
    if rule.compare == "number":
        left, right = _number(reference), _number(candidate)
        if left is not None and right is not None:
            return abs(left - right) <= rule.tolerance or math.isclose(left, right, rel_tol=1e-9)
    if rule.compare == "date":
        before, after = instant(reference), instant(candidate)
        if before is not None and after is not None and (before.tzinfo is None) == (after.tzinfo is None):
            return abs((before - after).total_seconds()) <= rule.tolerance
    return msgspec.json.encode(reference, order="deterministic") == msgspec.json.encode(
        candidate, order="deterministic"
    )


def plain_text(text: str) -> str:
    """`text` without case, punctuation and extra blanks; a text of nothing but punctuation stays as it is."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(" " if unicodedata.category(c)[0] in "PZC" else c for c in folded).split()
    return " ".join(words) or folded.strip()


def instant(value: Any) -> datetime | None:
    """The moment that an ISO 8601 text names, None where it names none; without a zone it has none."""
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _with_rule(schema: Any, root: Schema, path: Sequence[str], rule: Rule) -> dict[str, Any]:
    found = dict(resolve(schema, root))
    if not path:
        return {**found, _RULE: rule}
    for key in ("anyOf", "oneOf"):
        if isinstance(found.get(key), list):
            found[key] = [_with_rule(branch, root, path, rule) for branch in found[key]]
    head, rest = path[0], path[1:]
    if head == "[]":
        return {**found, "items": _with_rule(found.get("items"), root, rest, rule)}
    properties = found.get("properties")
    properties = dict(properties) if isinstance(properties, Mapping) else {}
    properties[head] = _with_rule(properties.get(head), root, rest, rule)
    return {**found, "properties": properties}
