"""A vLLM server of one's own: adapters that the local platform trains are loaded into it while it runs.

The server is started with runtime LoRA updating allowed and `--enable-lora`; docs/providers.md has the command. Nothing
of it needs to be on the machine that runs the flow but the directory with the adapters, which both must see.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

from blocks.local_platform.models.chat_format import ChatFormat
from blocks.local_platform.models.messages import UnusableChat
from blocks.local_platform.models.model_files import resolve_model
from blocks.local_platform.platform import LocalPlatform
from blocks.openai_platform.api import Api
from blocks.openai_platform.connection import Connection
from blocks.openai_platform.models import first_answer, listed
from blocks.openai_platform.platform import OpenAIPlatform
from blocks.ports import Endpoint, FineTuneRequest
from flywheel.config import CandidateConfig
from flywheel.errors import ConfigError, FlywheelError, RemoteRejected
from flywheel.evaluation.parity import PromptRendering
from flywheel.naming import slug
from flywheel.progress import Progress, silent
from flywheel.records.arguments import with_arguments_as_strings
from flywheel.results import Customization
from flywheel.tokens import TokenCounter

LOAD, UNLOAD = "/load_lora_adapter", "/unload_lora_adapter"


class VllmPlatform:
    """The base model is served already; fine-tuning runs on this machine. See `blocks.ports.Platform`.

    Args:
        connection: The vLLM server.
        home: Directory of the local platform, which trains.
        seen_as: The same directory as the server sees it, where that is another path; empty: the same.
    """

    scores_epochs: Literal[True] = True

    def __init__(self, connection: Connection, home: Path, seen_as: str = "") -> None:
        self._connection = connection
        self._chat = OpenAIPlatform(connection)
        self._api = Api(
            connection.base_url, connection.key, connection.timeout_seconds, connection.first_pause
        )
        self._home = home.absolute()
        self._seen_as = seen_as
        self._trainer = LocalPlatform(home)

    @property
    def api_key(self) -> str | None:
        """The key for whoever asks the models; it is never stored."""
        return self._connection.key

    async def context_length(self, candidate: CandidateConfig) -> int:
        """What the server was started with, if the candidate does not state less."""
        return await self._chat.context_length(candidate)

    async def token_counter(self, candidate: CandidateConfig) -> TokenCounter:
        """The model's own tokenizer where its files are here."""
        try:
            return await self._trainer.token_counter(candidate)
        except FlywheelError:
            return await self._chat.token_counter(candidate)

    async def deploy(self, name: str, candidate: CandidateConfig, progress: Progress) -> Endpoint:
        """See the base model answer."""
        return await self._chat.deploy(name, candidate, progress)

    async def fine_tune(self, request: FineTuneRequest, progress: Progress) -> Customization:
        """Train on this machine; see `LocalPlatform.fine_tune`."""
        return await self._trainer.fine_tune(request, progress)

    async def serve_customization(self, name: str, customization: Customization) -> Endpoint:
        """Load the adapter beside its base under a name that begins with the deployment's."""
        if customization.adapter is None:
            raise RemoteRejected(f"The fine-tune {customization.job!r} left no adapter; run it again.")
        served = f"{_prefix(name)}{slug(customization.job)}"
        if served not in await self._names():
            path = self._path(customization.adapter)
            try:
                await self._api.tell(LOAD, {"lora_name": served, "lora_path": path})
            except RemoteRejected as error:
                if served not in await self._names():  # it may be there by an earlier try with a lost answer
                    raise RemoteRejected(
                        f"vLLM does not load the adapter {path} ({error}). Start it with --enable-lora and "
                        "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and let it see that directory."
                    ) from error
        await first_answer(
            self._api, served, f"serve {served}", silent, self._connection.startup_seconds, new=True
        )
        return self._chat.endpoint(served)

    async def shut_down(self, name: str) -> None:
        """Unload the deployment's adapters and see them gone; the base goes on."""
        for served in await self._names():
            if served.startswith(_prefix(name)):
                try:
                    await self._api.tell(UNLOAD, {"lora_name": served})
                except RemoteRejected:
                    if served in await self._names():
                        raise

    async def renderings(self, model: str, rows: list[dict[str, Any]]) -> list[PromptRendering]:
        """Prompts of training rows as the training on this machine and as the server render them, in tokens.

        Raises: RemoteError, ConfigError where either cannot be had.
        """
        folder = await asyncio.to_thread(resolve_model, model, self._home, silent)
        chat_format = await asyncio.to_thread(ChatFormat, folder)
        root = Api(
            self._api.base_url.removesuffix("/v1"), self._connection.key, self._connection.timeout_seconds
        )
        found = []
        for row in rows:
            try:
                training = chat_format.example(row.get("messages"), row.get("tools")).prompt
            except UnusableChat:
                continue  # it will not be trained on
            asked = with_arguments_as_strings({"messages": row["messages"][:-1]})
            body = {"model": model, **asked, "add_generation_prompt": True}
            if row.get("tools"):
                body["tools"] = row["tools"]
            serving = (await root.post("/tokenize", body)).get("tokens")
            if not isinstance(serving, list):
                raise RemoteRejected(f"{root.base_url}/tokenize gave no tokens.")
            texts = {number: _text(chat_format, number) for number in {*training, *serving}}
            found.append(PromptRendering(training, serving, texts))
        return found

    async def cancel_fine_tune(self, name: str) -> None:
        """Stop the training of that name if it runs."""
        await self._trainer.cancel_fine_tune(name)

    async def _names(self) -> list[str]:
        return [model["id"] for model in await listed(self._api)]

    def _path(self, adapter: str) -> str:
        if not self._seen_as:
            return adapter
        try:
            below = Path(adapter).relative_to(self._home)
        except ValueError as error:
            raise ConfigError(
                f"The adapter {adapter} is not below {self._home}, so where vLLM sees it is unknown."
            ) from error
        return str(Path(self._seen_as) / below)


def _prefix(deployment: str) -> str:
    return f"{slug(deployment, most=80)}."


def _text(chat_format: ChatFormat, number: Any) -> str:
    """What a token stands for; those that end an answer have no text there."""
    return chat_format.decode([number]) or f"<{number}>"
