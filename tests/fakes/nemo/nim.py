"""The NIM proxy: routes to what is deployed and to adapters that have been taken up, and answers from an oracle.

It knows the right answers (text of the last user message → assistant message) and gives them as often as the kind of
model deserves: seldom as a base, more with in-context examples, mostly when fine-tuned.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from aiohttp import web

from tests.fakes.gpu_platform import QUALITY
from tests.fakes.nemo.customizer import Customizer
from tests.fakes.nemo.deployments import Deployments
from tests.fakes.nemo.state import body_of, detail, named, ok

UNSURE = {"role": "assistant", "content": "I am not sure."}


class Nim:
    def __init__(
        self, oracle: dict[str, dict[str, Any]], deployments: Deployments, customizer: Customizer
    ) -> None:
        self.oracle = oracle
        self.deployments = deployments
        self.customizer = customizer
        self.asked = 0

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_get("/v1/models", self._models)
        router.add_post("/v1/chat/completions", self._chat)

    def models(self) -> set[str]:
        """Ids of all models that it routes to."""
        return self.deployments.routed() | self.customizer.adapters(self.deployments.routed(lora=True))

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """A chat completion."""
        self.asked += 1
        questions = [message for message in body["messages"] if message["role"] == "user"]
        kind = "tuned" if "@" in body["model"] else "icl" if len(questions) > 1 else "base"
        question = _text(questions[-1]["content"]) if questions else ""
        luck = int(hashlib.sha256(f"{kind} {question}".encode()).hexdigest()[:8], 16) / 2**32
        right = self.oracle.get(question)
        message = right if right and luck < QUALITY[kind] else UNSURE
        tokens_in, tokens_out = len(json.dumps(body)) // 4, max(1, len(json.dumps(message)) // 4)
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        return {
            "id": f"chat-{self.asked}",
            "object": "chat.completion",
            "created": 1_750_000_000,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": finish, "message": message}],
            "usage": {
                "prompt_tokens": tokens_in,
                "completion_tokens": tokens_out,
                "total_tokens": tokens_in + tokens_out,
            },
        }

    async def _models(self, request: web.Request) -> web.Response:
        data = [
            {"id": model, "object": "model", "created": 1_750_000_000, "owned_by": "system"}
            for model in sorted(self.models())
        ]
        return ok({"object": "list", "data": data})

    async def _chat(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        if body["model"] not in self.models():
            return detail(404, f"model not found: {body['model']}")
        if named(self.deployments.misbehave.broken_when_used, body["model"]):
            return detail(502, "the adapter does not fit this engine")
        return ok(self.complete(body))


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content)
