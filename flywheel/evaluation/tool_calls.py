"""Comparing the tool calls of an answer with those of the reference.

Calls are compared without order, since parallel calls have none. Every call counts: one too many, one missing, one
where production called nothing and none where production called something are all wrong answers, and so is a call
whose arguments are not a JSON object. Arguments may be JSON text or objects; `argument_values` says when two agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flywheel.errors import DataError
from flywheel.evaluation.argument_values import equal_keys, equal_values
from flywheel.evaluation.assignment import all_matched, best_total
from flywheel.records.arguments import parse_arguments

Schemas = Mapping[str, Any]
"""JSON Schema of the parameters of each tool, by the tool's name."""


class Call(NamedTuple):
    """One call. `arguments` is None where they are not a JSON object; `raw` is what stood there."""

    name: str
    arguments: dict[str, Any] | None
    raw: Any = None


def calls_of(message: Mapping[str, Any]) -> list[Call]:
    """The tool calls of an assistant message, in its order; the older `function_call` counts as one.

    What is not a function call (no name, no function) is kept as a call with an empty name: an answer that tried to
    call something has not answered in words.
    """
    entries = message.get("tool_calls")
    calls = [_call(entry) for entry in entries] if isinstance(entries, list) else []
    older = message.get("function_call")
    if not calls and isinstance(older, Mapping):
        calls.append(_call({"function": older}))
    return calls


def schemas_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """Parameter schemas of the tools that a request offers; tools without one are left out."""
    tools = request.get("tools")
    functions = (
        [tool.get("function") for tool in tools if isinstance(tool, Mapping)]
        if isinstance(tools, list)
        else []
    )
    older = request.get("functions")
    if isinstance(older, list):
        functions += older
    schemas = {}
    for function in functions:
        if isinstance(function, Mapping) and isinstance(function.get("name"), str):
            parameters = function.get("parameters")
            if isinstance(parameters, Mapping):
                schemas[function["name"]] = parameters
    return schemas


def same_names(reference: Sequence[Call], candidate: Sequence[Call]) -> bool:
    """Whether both call the same tools equally often. No call on either side is agreement."""
    return Counter(call.name for call in reference) == Counter(call.name for call in candidate)


def same_calls(reference: Sequence[Call], candidate: Sequence[Call], schemas: Schemas | None = None) -> bool:
    """Whether each reference call has its own equal call in the answer, and the answer has no other."""
    schemas = schemas or {}
    if len(reference) == len(candidate) == 1:
        return _equal_calls(reference[0], candidate[0], schemas)
    return same_names(reference, candidate) and all_matched(
        reference, candidate, lambda left, right: _equal_calls(left, right, schemas)
    )


def partial_credit(
    reference: Sequence[Call], candidate: Sequence[Call], schemas: Schemas | None = None
) -> float:
    """How much of the calls is right, in [0, 1].

    Calls are paired so that the sum is largest. A pair of the same tool earns one half for the tool and up to one
    half for the share of its argument keys that agree; the sum is divided by the longer list's length, so that
    missing and extra calls cost alike.
    """
    if not reference or not candidate:
        return float(not reference and not candidate)
    schemas = schemas or {}
    gains = [[_gain(left, right, schemas) for right in candidate] for left in reference]
    return best_total(gains) / max(len(reference), len(candidate))


def _call(entry: Any) -> Call:
    function = entry.get("function") if isinstance(entry, Mapping) else None
    if not isinstance(function, Mapping):
        return Call("", None, entry)
    name = function.get("name")
    raw = function.get("arguments")
    return Call(name if isinstance(name, str) else "", _arguments(raw), raw)


def _arguments(raw: Any) -> dict[str, Any] | None:
    try:
        return parse_arguments(raw)
    except DataError:
        return None


def _equal_calls(left: Call, right: Call, schemas: Schemas) -> bool:
    if left.name != right.name:
        return False
    if left.arguments is None or right.arguments is None:
        # Two unreadable calls agree only to the letter, so that an answer always equals itself.
        return left.arguments is right.arguments and bool(left.raw == right.raw)
    return equal_values(left.arguments, right.arguments, schemas.get(left.name))


def _gain(left: Call, right: Call, schemas: Schemas) -> float:
    if left.name != right.name:
        return 0.0
    if left.arguments is None or right.arguments is None:
        return 1.0 if _equal_calls(left, right, schemas) else 0.5
    right_keys, keys = equal_keys(left.arguments, right.arguments, schemas.get(left.name))
    return 0.5 + 0.5 * (right_keys / keys if keys else 1.0)
