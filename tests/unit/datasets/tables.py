"""Small validated tables and assignments, made by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.curation.schema import ASSIGNMENT, ASSIGNMENT_FILE, VALIDATED

SYSTEM = "You route customer requests."
TOOL_NAMES = ("track_order", "cancel_order", "refund", "change_address", "talk_to_human")


def tool(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"order_id": {"type": "string"}}}
    return {
        "type": "function",
        "function": {"name": name, "description": f"Use to {name}.", "parameters": parameters},
    }


class Call(NamedTuple):
    """One logged call: the question, and the tool that production called for it ("" for a plain answer)."""

    record_id: str
    question: str
    tool: str = "track_order"
    split: str = "train"
    cluster: str = ""
    weight: int = 1
    request: dict[str, Any] | None = None

    def request_json(self) -> dict[str, Any]:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": self.question}]
        return self.request or {
            "model": "large",
            "messages": messages,
            "tools": [tool(n) for n in TOOL_NAMES],
        }

    def response_json(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "Happy to help."}
        if self.tool:
            function = {"name": self.tool, "arguments": json.dumps({"order_id": self.record_id})}
            calls = [{"id": f"call_{self.record_id}", "type": "function", "function": function}]
            message = {"role": "assistant", "content": None, "tool_calls": calls}
        return {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def write_tables(folder: Path, calls: Sequence[Call], part_size: int = 4) -> tuple[Path, Path]:
    """Directories of a validated table in the order given, and of its assignment. Split "" leaves a record
    out.
    """
    validated, assignment = folder / "validated", folder / "assignment"
    validated.mkdir(parents=True)
    assignment.mkdir()
    for number, start in enumerate(range(0, len(calls), part_size)):
        rows = [_validated(call) for call in calls[start : start + part_size]]
        pq.write_table(pa.Table.from_pylist(rows, VALIDATED), validated / f"validated-{number:05}.parquet")
    rows = [_assigned(row, call) for row, call in enumerate(calls) if call.split]
    rows.sort(key=lambda row: row["record_id"])
    pq.write_table(pa.Table.from_pylist(rows, ASSIGNMENT), assignment / ASSIGNMENT_FILE)
    return validated, assignment


def _validated(call: Call) -> dict[str, Any]:
    request = call.request_json()
    own = [m for m in request["messages"] if m["role"] != "system"]
    text = "\n".join(str(m.get("content") or "") for m in own)
    digest = hashlib.md5(call.record_id.encode()).digest()
    return {
        "record_id": call.record_id,
        "timestamp": 1.7e9,
        "request": json.dumps(request).encode(),
        "response": json.dumps(call.response_json()).encode(),
        "choice": 0,
        "answer_class": call.tool or "no_tool",
        "request_hash": digest,
        "answer_hash": digest,
        "context_hash": digest,
        "roles": "".join(m["role"][0] for m in own),
        "text": text,
        "last_message_start": 0,
        "thread_hash": digest,
        "prefix_hashes": [],
        "file": "log.jsonl",
        "line": 1,
    }


def _assigned(row: int, call: Call) -> dict[str, Any]:
    return {
        "row": row,
        "record_id": call.record_id,
        "timestamp": 1.7e9,
        "answer_class": call.tool or "no_tool",
        "cluster": call.cluster or f"cluster-{call.record_id}",
        "weight": call.weight,
        "split": call.split,
    }


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]
