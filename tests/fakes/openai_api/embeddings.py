"""An embedder in whose space texts that share words are close."""

from __future__ import annotations

import hashlib

from aiohttp import web

from tests.fakes.openai_api.state import ProviderState, refusal


class Embeddings:
    def __init__(self, state: ProviderState) -> None:
        self.state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/embeddings", self._embed)

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.state.faults.embeddings_down:
            return refusal(503, "The embedder is down.")
        if self.state.faults.no_input_type and "input_type" in body:
            return refusal(400, "Unrecognized request argument supplied: input_type")
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        if any(text in self.state.faults.bad_texts or not text for text in texts):
            return refusal(400, "'$.input' is invalid.")
        data = [{"object": "embedding", "index": i, "embedding": vector_of(t)} for i, t in enumerate(texts)]
        usage = {"prompt_tokens": sum(map(len, texts)) // 4, "total_tokens": sum(map(len, texts)) // 4}
        return web.json_response(
            {"object": "list", "data": data[::-1], "model": body["model"], "usage": usage}
        )


def vector_of(text: str) -> list[float]:
    """A small vector in which texts that share words are close."""
    vector = [0.0] * 64
    for word in text.lower().split():
        vector[int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) % 64] += 1.0
    return vector
