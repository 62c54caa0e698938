"""Looking into a JSON Schema for the little that comparing values needs: types, defaults, properties, branches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

NO_SCHEMA: Schema = {}
_MOST_HOPS = 16
_NAMES = frozenset({"uuid", "uri", "uri-reference", "iri", "email", "idn-email", "hostname", "ipv4", "ipv6"})
_IDENTIFIER = re.compile(r"(?:^|[_-])(?:id|uuid|guid)$|[a-z](?:Id|ID|Uuid|UUID)$")
_MOST_BRANCHES = 64


def resolve(schema: Any, root: Schema) -> Schema:
    """`schema` with local references (`#/...`) and `allOf` merged into it; what stands beside them wins.

    What is not an object, refers to nothing or goes round in circles counts as no schema.
    """
    for _ in range(_MOST_HOPS):
        if not isinstance(schema, Mapping):
            return NO_SCHEMA
        parts = schema.get("allOf")
        target = schema.get("$ref")
        if isinstance(parts, list):
            merged: dict[str, Any] = {}
            for part in parts:
                merged |= part if isinstance(part, Mapping) else {}
            schema = merged | {key: value for key, value in schema.items() if key != "allOf"}
        elif isinstance(target, str):
            found = _follow(target, root)
            if not isinstance(found, Mapping):
                return NO_SCHEMA
            schema = dict(found) | {key: value for key, value in schema.items() if key != "$ref"}
        else:
            return schema
    return NO_SCHEMA


def alternatives(schema: Any, root: Schema) -> list[Schema]:
    """What a value may look like: the schema itself, or the branches of its `anyOf`/`oneOf`, unfolded.

    Each branch comes with what the schema says beside it. Never empty; a schema that branches without end is cut
    off after some dozens.
    """
    plain: list[Schema] = []
    waiting = [resolve(schema, root)]
    for _ in range(_MOST_BRANCHES):
        if not waiting:
            break
        current = waiting.pop()
        found = _branches(current)
        waiting += [resolve(branch, root) for branch in reversed(found)]
        if not found:
            plain.append(current)
    return plain or [NO_SCHEMA]


def property_schema(schema: Schema, key: str, root: Schema) -> Schema:
    """Schema of one key of an object."""
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and key in properties:
        return resolve(properties[key], root)
    return resolve(schema.get("additionalProperties"), root)


def required_keys(schema: Schema) -> list[str]:
    """Keys that an object must have."""
    return _strings(schema.get("required"))


def types_of(schema: Schema) -> set[str]:
    """Names of the JSON types that the schema names; empty where it names none."""
    kind = schema.get("type")
    return {kind} if isinstance(kind, str) else set(_strings(kind))


def admits_null(schema: Schema) -> bool:
    """Whether the schema says that null is a value."""
    if schema.get("nullable") is True or "null" in types_of(schema):
        return True
    return any("null" in types_of(branch) for branch in _branches(schema))


def names_its_values(schema: Schema) -> bool:
    """Whether strings are identifiers: listed one by one, held to a pattern, or of a format of names."""
    return any(key in schema for key in ("enum", "const", "pattern")) or schema.get("format") in _NAMES


def names_an_identifier(key: str) -> bool:
    """Whether an argument is an identifier by its own name: id, order_id, orderId."""
    return bool(_IDENTIFIER.search(key))


def _branches(schema: Schema) -> list[dict[str, Any]]:
    for key in ("anyOf", "oneOf"):
        found = schema.get(key)
        if isinstance(found, list):
            beside = {name: value for name, value in schema.items() if name != key}
            return [beside | dict(branch) for branch in found if isinstance(branch, Mapping)]
    return []


def _follow(target: str, root: Schema) -> Any:
    if not target.startswith("#"):
        return None
    found: Any = root
    for step in filter(None, target[1:].split("/")):
        if not isinstance(found, Mapping):
            return None
        found = found.get(step.replace("~1", "/").replace("~0", "~"))
    return found


def _strings(value: Any) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []
