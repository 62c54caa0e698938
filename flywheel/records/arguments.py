"""Tool-call arguments: a JSON string in the API, an object in most tools. Lossless in value both ways.

Every function returns new payloads that share what did not change with the old ones; none changes its input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from flywheel.errors import DataError

Payload = Mapping[str, Any]


def parse_arguments(arguments: Any) -> dict[str, Any]:
    """The arguments of one call as an object, from either form.

    A blank string, null and absent mean no arguments: so models call a function without parameters.

    Raises:
        DataError: Not JSON, or JSON that is not an object.
    """
    if isinstance(arguments, dict):
        return dict(arguments)
    if arguments is None:
        return {}
    if not isinstance(arguments, str):
        raise DataError(
            f"tool-call arguments are {_json_kind(arguments)}; expected a JSON object or its text"
        )
    if not arguments.strip():
        return {}
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise DataError(f"tool-call arguments are not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"tool-call arguments are {_json_kind(value)}; expected a JSON object")
    return value


def arguments_as_string(arguments: Any) -> str:
    """The arguments of one call as the JSON text of the API; text stays as it is, character by character."""
    if isinstance(arguments, str):
        return arguments
    return msgspec.json.encode({} if arguments is None else arguments).decode()


def with_arguments_as_objects(payload: Payload) -> dict[str, Any]:
    """A request, a response or a message with all tool-call arguments as JSON objects, history included.

    Arguments that are not a JSON object stay as they are; `parse_arguments` says what is wrong with them.
    """
    return _converted(payload, arguments_as_object)


def with_arguments_as_strings(payload: Payload) -> dict[str, Any]:
    """A request, a response or a message with all tool-call arguments as the JSON strings of the API."""
    return _converted(payload, arguments_as_string)


def arguments_as_object(arguments: Any) -> Any:
    """The arguments of one call as an object; what is not a JSON object stays as it is."""
    try:
        return parse_arguments(arguments)
    except DataError:
        return arguments


def _converted(payload: Payload, convert: Callable[[Any], Any]) -> dict[str, Any]:
    new = dict(payload)
    if isinstance(new.get("messages"), list):  # a request
        new["messages"] = [_message(m, convert) for m in new["messages"]]
    if isinstance(new.get("choices"), list):  # a response
        new["choices"] = [_choice(choice, convert) for choice in new["choices"]]
    if "messages" in new or "choices" in new:  # the `function_call` of a request is a choice, not a call
        return new
    return dict(_message(new, convert))


def _choice(choice: Any, convert: Callable[[Any], Any]) -> Any:
    if not isinstance(choice, dict) or "message" not in choice:
        return choice
    return {**choice, "message": _message(choice["message"], convert)}


def _message(message: Any, convert: Callable[[Any], Any]) -> Any:
    if not isinstance(message, dict):
        return message
    new = dict(message)
    if isinstance(new.get("tool_calls"), list):
        new["tool_calls"] = [
            {**call, "function": _function(call["function"], convert)}
            if isinstance(call, dict) and isinstance(call.get("function"), dict)
            else call
            for call in new["tool_calls"]
        ]
    if isinstance(new.get("function_call"), dict) and "name" in new["function_call"]:
        new["function_call"] = _function(new["function_call"], convert)
    return new


def _function(function: Payload, convert: Callable[[Any], Any]) -> dict[str, Any]:
    return {**function, "arguments": convert(function.get("arguments"))}


def _json_kind(value: Any) -> str:
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return "null" if value is None else kinds.get(type(value), "not an object")
