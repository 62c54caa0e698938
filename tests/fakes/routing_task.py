"""A small customer-service routing task: questions, tools, and the one right call for each."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

SYSTEM = "You are the router of a customer service. Choose a tool."


def _tool(name: str, description: str, **parameters: str) -> dict[str, Any]:
    properties = {key: {"type": "string", "description": text} for key, text in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


TOOLS = [
    _tool("track_order", "Look up where an order is.", order_id="The order number"),
    _tool("cancel_order", "Cancel an order.", order_id="The order number", reason="Why"),
    _tool("refund", "Pay back.", order_id="The order number", amount="How much"),
    _tool("open_ticket", "Open a support ticket.", subject="What about", priority="How urgent"),
    _tool("find_store", "Find a store nearby.", city="City"),
]

PHRASES = {
    "track_order": [
        "where is my order {order_id}?",
        "can you tell me when {order_id} arrives?",
        "track {order_id}.",
    ],
    "cancel_order": [
        "please cancel {order_id}, {reason}.",
        "I want to stop order {order_id} because: {reason}.",
    ],
    "refund": ["I want {amount} back for {order_id}.", "refund {amount} on order {order_id}."],
    "open_ticket": [
        "{subject}, this is {priority} priority.",
        "please open a ticket: {subject} ({priority}).",
    ],
    "find_store": [
        "is there a shop in {city}?",
        "where can I find you in {city}?",
        "nearest store to {city}?",
    ],
}
VALUES = {
    "reason": ["ordered twice", "too expensive", "wrong size", "no longer needed"],
    "subject": ["login broken", "app crashes", "invoice missing", "password reset"],
    "priority": ["high", "low"],
    "city": ["Berlin", "Paris", "Oslo", "Madrid", "Rome", "Porto", "Graz", "Lyon", "Bonn", "Turin"],
}
BEFORE = ["", "Hi, ", "Hello! ", "Please: ", "Good morning, ", "I need help. "]
AFTER = ["", " Thanks.", " Be quick.", " I am waiting.", " Kind regards"]


class RoutedCall(NamedTuple):
    """One request with its right answer."""

    messages: list[dict[str, Any]]
    tool: str
    arguments: dict[str, str]

    def training_row(self) -> dict[str, Any]:
        """The row that a trainer gets."""
        function = {"name": self.tool, "arguments": json.dumps(self.arguments)}
        answer = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": function}]}
        return {"messages": [*self.messages, answer], "tools": TOOLS}

    def is_answered_by(self, message: dict[str, Any]) -> bool:
        """Whether the message is exactly the right call."""
        calls = [call["function"] for call in message.get("tool_calls") or []]
        return [(c["name"], json.loads(c["arguments"])) for c in calls] == [(self.tool, self.arguments)]


def routed_calls(count: int, seed: int = 0) -> list[RoutedCall]:
    """Calls with questions that all differ."""
    draw = random.Random(seed)
    calls: dict[str, RoutedCall] = {}
    while len(calls) < count:
        tool = draw.choice(sorted(PHRASES))
        fresh = {
            "order_id": f"{draw.choice('ABCDEF')}-{draw.randint(1000, 99999)}",
            "amount": f"{draw.randint(5, 300)} EUR",
            **{key: draw.choice(values) for key, values in VALUES.items()},
        }
        names = next(t for t in TOOLS if t["function"]["name"] == tool)["function"]["parameters"]["required"]
        question = draw.choice(BEFORE) + draw.choice(PHRASES[tool]).format(**fresh) + draw.choice(AFTER)
        turns = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        calls.setdefault(question, RoutedCall(turns, tool, {name: fresh[name] for name in names}))
    return list(calls.values())
