"""How the tests of this folder ask a model through the SDK, and read what was logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from flywheel_exporter import Exporter
from tests.fakes.chat_server import ChatServer

USER = {"role": "user", "content": "where is A1? ü"}
TOOLS: Any = [{"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}]


def sdk(server: ChatServer, http: Any, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url=server.base_url, api_key="secret", http_client=http, **({"max_retries": 0} | options)
    )


def ask(client: Any, **options: Any) -> Any:
    return client.chat.completions.create(model="m", messages=[USER], **options)


def logged(exporter: Exporter, path: Path) -> list[dict[str, Any]]:
    assert exporter.flush(60)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
