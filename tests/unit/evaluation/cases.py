"""Building blocks of these tests: items and answers."""

from __future__ import annotations

from typing import Any

from flywheel.results import EvalItem
from tests.fakes.chat_server import completion

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "default": 1},
                "unit": {"type": "string", "enum": ["C", "F"]},
            },
            "required": ["city"],
        },
    },
}
TRACK = {
    "type": "function",
    "function": {
        "name": "track_order",
        "parameters": {"type": "object", "properties": {"id": {"type": "string"}}},
    },
}


def item(
    response: dict[str, Any], name: str = "i0", tools: list[Any] | None = None, cluster: str | None = None
) -> EvalItem:
    """An evaluation item; `tools` None offers the two tools above, an empty list none."""
    tools = [WEATHER, TRACK] if tools is None else tools
    request = {
        "messages": [{"role": "user", "content": f"question {name}"}],
        **({"tools": tools} if tools else {}),
    }
    return EvalItem(name, request, response, cluster or f"cluster of {name}")


def calls(*pairs: tuple[str, Any]) -> dict[str, Any]:
    """A chat completion that makes these calls."""
    return completion(None, list(pairs))


def text(content: str | None) -> dict[str, Any]:
    """A chat completion in words."""
    return completion(content)
