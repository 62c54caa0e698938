"""Validated tables for tests, made from calls that say only what a test is about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.curation.schema import ASSIGNMENT_FILE, DEDUPLICATED_FILE, REJECTED_FILE, VALIDATED

LETTERS = {"user": "u", "assistant": "a", "tool": "t"}


@dataclass(frozen=True)
class Call:
    """A logged call: `turns` are its messages after the system prompt, users and assistants by turns."""

    id: str
    turns: tuple[str, ...]
    answer: str = "Done."
    tool: str = "no_tool"
    system: str = "You route customers."
    time: float | None = 1_700_000_000.0
    conversation: str | None = None
    roles: tuple[str, ...] = ()

    def with_id(self, new: str, time: float | None = None) -> Call:
        return replace(self, id=new, time=self.time if time is None else time)


def call(id: str, *turns: str, **rest: Any) -> Call:  # noqa: A002
    return Call(id, turns, **rest)


def _hash(value: Any) -> bytes:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).digest()


def _row(call: Call, line: int) -> dict[str, Any]:
    roles = call.roles or tuple("user" if place % 2 == 0 else "assistant" for place in range(len(call.turns)))
    messages = [{"role": role, "content": text} for role, text in zip(roles, call.turns, strict=True)]
    said = [[role, text] for role, text in zip(roles, call.turns, strict=True)]
    answer = {"role": "assistant", "content": call.answer}
    text = "\n".join(call.turns)
    return {
        "record_id": call.id,
        "timestamp": call.time,
        "conversation_id": call.conversation,
        "latency_ms": 12.5,
        "tokens_in": None,
        "tokens_out": 3,
        "request": json.dumps({"messages": [{"role": "system", "content": call.system}, *messages]}).encode(),
        "response": json.dumps({"choices": [{"message": answer, "finish_reason": "stop"}]}).encode(),
        "choice": 0,
        "answer_class": call.tool,
        "request_hash": _hash([call.system, said]),
        "answer_hash": _hash([call.answer, call.tool]),
        "context_hash": _hash(call.system),
        "roles": "".join(LETTERS[role] for role in roles),
        "text": text,
        "last_message_start": len(text) - len(call.turns[-1]),
        "thread_hash": _hash([call.system, [*said, ["assistant", call.answer]]]),
        "prefix_hashes": [
            _hash([call.system, said[: place + 1]]) for place, role in enumerate(roles) if role == "assistant"
        ],
        "file": "calls.jsonl",
        "line": line,
    }


def validated(folder: Path, calls: Sequence[Call], parts: int = 2) -> Path:
    """Write the validated table of some calls, in as many parts as asked."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(one, line) for line, one in enumerate(calls, 1)]
    size = -(-len(rows) // parts) or 1
    for part in range(parts):
        chosen = rows[part * size : (part + 1) * size]
        table = pa.Table.from_pylist(chosen, schema=VALIDATED)
        pq.write_table(table, folder / f"validated-{part:05}.parquet")
    return folder


def kept(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / DEDUPLICATED_FILE).to_pylist()
    return rows


def assigned(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / ASSIGNMENT_FILE).to_pylist()
    return rows


def rejected(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / REJECTED_FILE).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
