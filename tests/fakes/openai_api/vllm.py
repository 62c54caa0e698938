"""What vLLM adds: adapters that are loaded while it runs, and the tokens of a prompt."""

from __future__ import annotations

from aiohttp import web

from tests.fakes.openai_api.state import ProviderState, refusal


class Vllm:
    def __init__(self, state: ProviderState) -> None:
        self.state = state

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/load_lora_adapter", self._load)
        router.add_post("/v1/unload_lora_adapter", self._unload)
        router.add_post("/tokenize", self._tokenize)

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["lora_name"] in self.state.models:
            return refusal(400, f"The lora adapter '{body['lora_name']}' has already been loaded.")
        self.state.add_model(body["lora_name"], owned_by="tuned", root=body["lora_path"], parent="small-a")
        return web.Response(text=f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if self.state.models.pop(name, None) is None:
            return refusal(404, f"The lora adapter '{name}' cannot be found.")
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def _tokenize(self, request: web.Request) -> web.Response:
        tokens = self.state.tokenize(await request.json())
        return web.json_response({"count": len(tokens), "max_model_len": 4096, "tokens": tokens})
