"""What the provider keeps and what goes wrong with it; its parts share one of these."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Faults:
    """What goes wrong."""

    fail_at_step: int | None = None
    lost_creates: int = 0
    bad_polls: int = 0
    stuck_at_step: int | None = None
    stays_queued: bool = False
    ignores_cancel: bool = False
    drops_metadata: bool = False
    unknown_to_chat: int = 0  # requests for which a fresh model is unknown
    refuses_files: bool = False
    no_events: bool = False
    answer_seconds: float = 0.0
    chat: dict[str, str] = field(
        default_factory=dict
    )  # text of the last user message, or "*" -> kind of fault
    bad_texts: set[str] = field(default_factory=set)  # texts that the embedder refuses
    no_input_type: bool = False
    embeddings_down: bool = False


class ProviderState:
    """Models, files, jobs, and everything that was asked.

    Args:
        oracle: Text of the last user message -> the right assistant message, which tuned models mostly know.
    """

    def __init__(self, oracle: dict[str, dict[str, Any]] | None = None) -> None:
        self.oracle = oracle or {}
        self.faults = Faults()
        self.models: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.steps_per_look = 50
        self.tokenize: Callable[[dict[str, Any]], list[int]] = lambda body: list(json.dumps(body).encode())
        self.chats_under_way = self.most_chats = 0
        for name in ("small-a", "small-b"):
            self.add_model(name)

    def add_model(self, name: str, **more: Any) -> None:
        self.models[name] = {"id": name, "object": "model", "created": 1, "owned_by": "fake", **more}

    def requests(self, method: str, path: str) -> list[Any]:
        """Bodies of the requests to one path, in order."""
        return [body for m, p, body in self.asked if (m, p) == (method, path)]


def refusal(status: int, message: str, code: str | None = None) -> web.Response:
    """An error in the API's shape."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return web.json_response({"error": error}, status=status)
