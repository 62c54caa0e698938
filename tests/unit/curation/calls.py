"""Logged calls for tests of reading and validation, and what comes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blocks.logs.file_log_store import FileLogStore
from blocks.ports import LogQuery
from flywheel.config import ValidationConfig
from flywheel.curation.extraction import extract
from flywheel.curation.schema import REJECTED_FILE, VALIDATED_FILES
from flywheel.curation.validation.validate_stage import validate
from flywheel.progress import silent

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "track",
            "parameters": {
                "type": "object",
                "properties": {"order": {"type": "string"}, "count": {"type": "integer"}},
                "required": ["order"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "ping"}},
]


def call(name: str = "track", arguments: Any = '{"order": "A1"}', call_id: str = "c1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def request(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {
        "messages": list(messages) or [{"role": "user", "content": "where is A1?"}],
        "tools": TOOLS,
    } | fields


def response(finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant"} | message}]
    }


def record(number: int = 0, **fields: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": f"r{number}",
        "timestamp": 1_750_000_000 + number,
        "workload_id": "w",
        "client_id": "c",
        "request": request({"role": "user", "content": f"where is order {number}?"}),
        "response": response(content=f"It is at stop {number}."),
    }
    return {key: value for key, value in (values | fields).items() if value is not ...}


def curated(
    tmp_path: Path, records: Sequence[dict[str, Any]], workers: int = 1, **settings: Any
) -> tuple[pa.Table, list[dict[str, Any]], dict[str, Any]]:
    """Validated table, rejected lines of both steps, and validation's report."""
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(r) + "\n" for r in records))
    extract(FileLogStore(log).read(LogQuery("w", "c"), silent), tmp_path / "extracted", silent)
    out = tmp_path / "validated"
    report = validate(tmp_path / "extracted", out, ValidationConfig(**settings), silent, workers)
    table = pa.concat_tables([pq.read_table(path) for path in sorted(out.glob(VALIDATED_FILES))])
    rejected = [
        json.loads(line)
        for step in (tmp_path / "extracted", out)
        for line in (step / REJECTED_FILE).read_text().splitlines()
    ]
    return table, rejected, report
