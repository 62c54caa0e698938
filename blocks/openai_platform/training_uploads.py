"""Training files at a provider: uploaded once under a name made from their content, and removed when they are done."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from blocks.openai_platform.api import Api
from blocks.openai_platform.training_file import TrainingFile
from flywheel.errors import RemoteError, RemoteRejected, TransientRemoteError

FILES = "/files"
PURPOSE = "fine-tune"
ATTEMPTS = 4
READY = frozenset({"processed", "uploaded", "success", "ready"})
logger = logging.getLogger(__name__)


class TrainingUploads:
    """Files of one service.

    Args:
        patience: Seconds for the provider to process a file.
        poll: Seconds between looks.
    """

    def __init__(self, api: Api, patience: float, poll: float) -> None:
        self._api = api
        self._patience = patience
        self._poll = poll

    async def find_or_upload(self, file: TrainingFile) -> str:
        """The id of the file at the provider, which has accepted it.

        Raises: RemoteRejected where the provider refuses the file, TransientRemoteError where it does not come through.
        """
        name = f"flywheel-{file.sha256[:24]}.jsonl"
        attempt = 1
        while True:
            try:
                found = await self._named(name) or await self._api.upload(
                    FILES, file.path, name, purpose=PURPOSE
                )
                break
            except TransientRemoteError:
                if attempt == ATTEMPTS:
                    raise
            await self._api.pause(attempt)
            attempt += 1
        return await self._accepted(found)

    async def remove(self, *identities: str | None) -> None:
        """Delete files; one that cannot be deleted is logged, since it holds logged data."""
        for identity in filter(None, identities):
            try:
                await self._api.delete(f"{FILES}/{identity}")
            except RemoteError as error:
                logger.warning("The training file %s is still at the provider: %s", identity, error)

    async def _named(self, name: str) -> dict[str, Any] | None:
        page = await self._api.get(FILES, purpose=PURPOSE)
        files = [file for file in page.get("data") or () if isinstance(file, dict)]
        return next((f for f in files if f.get("filename") == name and f.get("status") != "error"), None)

    async def _accepted(self, file: dict[str, Any]) -> str:
        identity = str(file.get("id"))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        while (status := file.get("status")) is not None and status not in READY:
            if status in ("error", "failed", "deleted"):
                raise RemoteRejected(
                    f"The provider refuses the training file: {file.get('status_details') or status}"
                )
            if loop.time() > deadline:
                raise TransientRemoteError(
                    f"The provider has not processed the training file {identity} within {self._patience:.0f} s."
                )
            await asyncio.sleep(self._poll)
            file = await self._api.get(f"{FILES}/{identity}")
        return identity
