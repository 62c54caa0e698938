"""The flywheel on real questions: users' requests with tool schemas and ground-truth calls, from a public benchmark.

The data is part of the `bfcl-eval` package (Berkeley Function-Calling Leaderboard, Apache 2.0). Each source file
becomes a workload; the ground truth stands where production's answer would.

    python benchmarks/real_questions.py --out real-questions           # the log, to run on as you like
    python benchmarks/real_questions.py --out real-questions --run     # and a small run on it, on CPU
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]

PACKAGE = "bfcl-eval==2026.3.23"
CLIENT = "bfcl"
WORKLOADS = {"bfcl-simple": "BFCL_v4_simple_python.json", "bfcl-live": "BFCL_v4_live_simple.json"}
FIRST_QUESTION = datetime(2025, 9, 1, tzinfo=UTC)  # the data has no times; a log needs some
MOST_TOKENS = 192

_TYPES = {"dict": "object", "float": "number", "double": "number", "tuple": "array", "list": "array"}
_STANDARD = {"string", "integer", "number", "boolean", "array", "object", "null"}
_ABSENT = ""
"""Among the allowed values of an argument: the argument may be left out."""


class Question(NamedTuple):
    """One row of the benchmark: the question with its functions, and the calls that answer it."""

    row: Json
    ground_truth: list[Json]


def json_schema(source: Any) -> Any:
    """A JSON Schema from the benchmark's own, which names types as Python does and adds keys of its own."""
    if isinstance(source, list):
        return [json_schema(part) for part in source]
    if not isinstance(source, dict):
        return source
    schema = {key: value for key, value in source.items() if key not in ("type", "properties", "optional")}
    kind = _TYPES.get(source.get("type", ""), source.get("type"))
    if kind in _STANDARD:  # "any" allows everything, as no type does
        schema = {"type": kind, **schema}
    if "items" in schema:
        schema["items"] = json_schema(schema["items"])
    if "properties" in source:
        schema["properties"] = {name: json_schema(part) for name, part in source["properties"].items()}
    return schema


def tool(function: Json) -> Json:
    """A function of the benchmark as a tool of the chat-completions API."""
    return {
        "type": "function",
        "function": {
            "name": tool_name(function["name"]),
            "description": function.get("description", ""),
            "parameters": json_schema(function["parameters"]),
        },
    }


def tool_name(name: str) -> str:
    """The API allows letters, digits, underscores and dashes; the benchmark's names have dots too."""
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in name
    )[:64]


def arguments(allowed: Json, required: frozenset[str] = frozenset()) -> Json:
    """The first allowed value of each argument; arguments that may be left out are.

    Args:
        allowed: A list of allowed values for each argument.
        required: Arguments that the schema asks for, and that stay even if the ground truth lets them go.
    """
    chosen = {}
    for name, values in allowed.items():
        if not isinstance(values, list):  # a plain value in a nested object
            chosen[name] = values
            continue
        if _ABSENT in values and name not in required:
            continue
        chosen[name] = _plain(
            next((value for value in values if value != _ABSENT), _ABSENT if values else [])
        )
    return chosen


def _plain(value: Any) -> Any:
    """A value whose objects, at any depth, list their allowed values too."""
    if isinstance(value, dict):
        return arguments(value)
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value


def record(workload_id: str, question: Question, number: int) -> Json:
    """A log record: the question as the request, the ground truth as production's answer.

    There is no usage, latency or model in it, because there was none.
    """
    row, functions = question.row, {function["name"]: function for function in question.row["function"]}
    calls = [
        {
            "id": f"call_{position}",
            "type": "function",
            "function": {
                "name": tool_name(name),
                "arguments": json.dumps(
                    arguments(allowed, frozenset(functions[name]["parameters"].get("required", ()))),
                    ensure_ascii=False,
                ),
            },
        }
        for position, call in enumerate(question.ground_truth)
        for name, allowed in call.items()
    ]
    return {
        "id": row["id"],
        "timestamp": (FIRST_QUESTION + timedelta(minutes=number)).isoformat(),
        "workload_id": workload_id,
        "client_id": CLIENT,
        "request": {
            "model": "ground-truth",
            "messages": row["question"][0],
            "tools": [tool(function) for function in row["function"]],
            "tool_choice": "auto",
            "temperature": 0,
            "max_tokens": MOST_TOKENS,
        },
        "response": {
            "object": "chat.completion",
            "model": "ground-truth",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": None, "tool_calls": calls},
                    "finish_reason": "tool_calls",
                }
            ],
        },
    }


def read_questions(wheel: Path, file: str) -> Iterator[Question]:
    """The questions of one source file inside the package's wheel."""
    with zipfile.ZipFile(wheel) as archive:
        answers = {
            row["id"]: row["ground_truth"] for row in _rows(archive, f"bfcl_eval/data/possible_answer/{file}")
        }
        for row in _rows(archive, f"bfcl_eval/data/{file}"):
            yield Question(row, answers[row["id"]])


def _rows(archive: zipfile.ZipFile, name: str) -> list[Json]:
    return [json.loads(line) for line in archive.read(name).decode().splitlines() if line]


def write_log(wheel: Path, out: Path) -> dict[str, int]:
    """Write a JSONL file for each workload; returns the number of records in each."""
    out.mkdir(parents=True, exist_ok=True)
    counts = {}
    for workload_id, file in WORKLOADS.items():
        questions = read_questions(wheel, file)
        lines = [
            json.dumps(record(workload_id, q, number), ensure_ascii=False)
            for number, q in enumerate(questions)
        ]
        (out / f"{workload_id}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        counts[workload_id] = len(lines)
    return counts


def download_wheel(directory: Path) -> Path:
    """Fetch the package with pip, without what it depends on: only its data files are wanted."""
    command = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(directory), PACKAGE]
    subprocess.run([sys.executable, *command], check=True, timeout=600)
    return next(directory.glob("bfcl_eval-*.whl"))


def run_flywheel(logs: Path, workload_id: str, options: argparse.Namespace) -> int:
    """`flywheel run` on one of the workloads, with limits that a CPU manages; its exit code."""
    settings = {
        "data_split_config.eval_size": options.eval_size,
        "data_split_config.limit": options.limit,
        "data_split_config.min_total_records": options.eval_size + 10,
        "training_config.epochs": options.epochs,
        "evaluation_config.concurrency": options.eval_size,
    }
    pairs = [f"{key}={value}" for key, value in settings.items()] + options.set
    command = [
        "-m",
        "flywheel.cli.main",
        "run",
        "--logs",
        str(logs),
        "--workload",
        workload_id,
        "--client",
        CLIENT,
    ]
    command += [part for pair in pairs for part in ("--set", pair)]
    return subprocess.run(
        [sys.executable, *command, *(["--json"] if options.json else [])], check=False
    ).returncode


def main() -> int:
    """Convert, and run where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="directory for the log")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {PACKAGE}; without it, pip fetches it")
    parser.add_argument("--run", action="store_true", help="run the flywheel on the log, on this machine")
    parser.add_argument("--workload", choices=WORKLOADS, default="bfcl-simple", help="what to run on")
    parser.add_argument("--eval-size", type=int, default=40, help="questions held out (default: %(default)s)")
    parser.add_argument("--limit", type=int, default=400, help="questions used in all (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=int, default=1, help="passes over the training rows (default: %(default)s)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the run"
    )
    parser.add_argument("--json", action="store_true", help="the run's result as JSON on stdout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        counts = write_log(options.wheel or download_wheel(Path(scratch)), options.out)
    for workload_id, count in counts.items():
        print(f"{options.out / workload_id}.jsonl: {count} records", file=sys.stderr)
    return run_flywheel(options.out, options.workload, options) if options.run else 0


if __name__ == "__main__":
    sys.exit(main())
