"""Checking tool calls against the JSON Schemas that the request offered the tools with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema_rs
import msgspec

from flywheel.records.messages import ToolCall

_CACHED = 2_048  # distinct tool lists whose validators are kept; a workload has a handful
Validators = Mapping[str, Any]
_UNUSABLE = object()


class ToolSchemas:
    """Validators of tool arguments, made once for each distinct list of tools."""

    def __init__(self) -> None:
        self._made: dict[bytes, Validators] = {}

    def check(self, tools: bytes, calls: Sequence[ToolCall]) -> tuple[list[str], list[str]]:
        """What is wrong with an answer's calls, a sentence each, and which of the tools cannot be checked.

        Args:
            tools: JSON of the request's `tools`, or of the older `functions`.
            calls: The answer's calls, arguments as objects.
        """
        validators = self._made.get(tools)
        if validators is None:
            if len(self._made) >= _CACHED:
                self._made.clear()
            validators = self._made[tools] = _validators(msgspec.json.decode(tools))
        wrong, unusable = [], []
        for call in calls:
            validator = validators.get(call.name)
            if call.name not in validators:
                wrong.append(f"{call.name} is not among the request's tools")
            elif validator is _UNUSABLE:
                unusable.append(call.name)
            elif validator is not None and not validator.is_valid(call.arguments):
                wrong.append(f"{call.name}: {_first_error(validator, call.arguments)}")
        return wrong, unusable


def _first_error(validator: Any, arguments: Any) -> str:
    error = next(iter(validator.iter_errors(arguments)))
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    return f"arguments{path}: {str(error.message)[:300]}"


def _validators(tools: Any) -> Validators:
    """By name: a validator, None for a tool without parameters, `_UNUSABLE` for a schema that is none."""
    found: dict[str, Any] = {}
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            found[function["name"]] = _validator(function.get("parameters"))
    return found


def _validator(schema: Any) -> Any:
    if schema is None or schema == {}:
        return None
    try:
        return jsonschema_rs.validator_for(schema, retriever=_refuse_to_fetch, validate_formats=False)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError):
        return _UNUSABLE


def _refuse_to_fetch(uri: str) -> Any:
    # A log must not be able to make us open a connection.
    raise ValueError(f"the schema refers to {uri}, which is not part of it")
