"""What is asked of the platform for OpenAI-compatible services."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from blocks.openai_platform.connection import Connection
from blocks.openai_platform.fine_tuning_jobs import Patience
from blocks.openai_platform.platform import OpenAIPlatform
from blocks.ports import FineTuneRequest
from flywheel.config import CandidateConfig, LoraConfig, TrainingConfig
from tests.fakes.openai_provider import OpenAIProvider

TOOLS = [{"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}]
QUICK = Patience(queued=120, stalled=120, cancelled=60, poll=0.01)
NAME = "fw-run-a-small-0123456789ab"
CANDIDATE = CandidateConfig(name="small", model="small-a")


def platform(provider: OpenAIProvider, key: str | None = "sk-secret", **more: Any) -> OpenAIPlatform:
    settings = {"patience": QUICK, "startup_seconds": 60, "timeout_seconds": 60, "first_pause": 0.01, **more}
    return OpenAIPlatform(Connection(provider.url, key, **settings))


def row(n: int, **more: Any) -> dict[str, Any]:
    function = {"name": "track", "arguments": {"id": n}}
    call = {"id": "call_1", "type": "function", "function": function}
    answer = {"role": "assistant", "content": "", "tool_calls": [call]}
    return {"messages": [{"role": "user", "content": f"where is {n}?"}, answer], "tools": TOOLS, **more}


def request(folder: Path, rows: list[Any] | None = None, name: str = NAME) -> FineTuneRequest:
    rows = [row(n) for n in range(12)] if rows is None else rows
    folder.mkdir(exist_ok=True)
    for file, part in (("training.jsonl", rows), ("validation.jsonl", rows[:10])):
        (folder / file).write_text("".join(json.dumps(entry) + "\n" for entry in part))
    return FineTuneRequest(name, "small-a", folder, TrainingConfig(epochs=3, seed=7), LoraConfig())
