"""Converting the public benchmark's questions into log records."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from benchmarks import real_questions
from benchmarks.real_questions import Question, arguments, json_schema, record, tool_name, write_log

ROW: dict[str, Any] = {
    "id": "simple_python_1",
    "question": [[{"role": "user", "content": "Weather in São Paulo, in celsius?"}]],
    "function": [
        {
            "name": "weather.current",
            "description": "The weather now.",
            "parameters": {
                "type": "dict",
                "properties": {
                    "city": {"type": "string", "description": "City."},
                    "radius": {"type": "float", "optional": True},
                    "box": {"type": "tuple", "items": {"type": "float"}},
                    "extra": {"type": "any"},
                },
                "required": ["city"],
            },
        }
    ],
}
TRUTH = [{"weather.current": {"city": ["São Paulo", "Sao Paulo"], "radius": [10.5, ""], "box": [[1.0, 2.0]]}}]


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel with one question in each of the source files."""
    path = tmp_path / "bfcl_eval-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in real_questions.WORKLOADS.values():
            archive.writestr(f"bfcl_eval/data/{file}", json.dumps(ROW) + "\n")
            answer = {"id": ROW["id"], "ground_truth": TRUTH}
            archive.writestr(f"bfcl_eval/data/possible_answer/{file}", json.dumps(answer) + "\n")
    return path


def test_the_benchmarks_types_become_those_of_json_schema() -> None:
    schema = json_schema(ROW["function"][0]["parameters"])
    assert schema == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "City."},
            "radius": {"type": "number"},
            "box": {"type": "array", "items": {"type": "number"}},
            "extra": {},
        },
        "required": ["city"],
    }
    jsonschema_rs.validator_for(schema)


def test_a_parameter_named_type_is_no_type() -> None:
    source = {"type": "dict", "properties": {"type": {"type": "string", "enum": ["float", "dict"]}}}
    properties = {"type": {"type": "string", "enum": ["float", "dict"]}}
    assert json_schema(source) == {"type": "object", "properties": properties}


def test_the_first_allowed_value_of_each_argument_is_taken_and_optional_ones_are_left_out() -> None:
    allowed = {
        "a": ["units", "unit"],
        "b": ["x", ""],
        "c": ["", 3],
        "d": [[]],
        "e": [],
        "f": [False],
        "g": [0],
    }
    assert arguments(allowed) == {"a": "units", "d": [], "e": [], "f": False, "g": 0}


def test_an_argument_that_the_schema_requires_stays() -> None:
    assert arguments({"b": ["", "x"], "c": [""]}, frozenset("bc")) == {"b": "x", "c": ""}


def test_objects_inside_an_argument_list_their_allowed_values_too() -> None:
    allowed = {
        "body": [{"mode": ["AIR", "air"], "power": ["", False]}],
        "rows": [[{"age": [18]}, {"age": [21]}]],
    }
    assert arguments(allowed) == {"body": {"mode": "AIR"}, "rows": [{"age": 18}, {"age": 21}]}


@pytest.mark.parametrize(
    ("name", "expected"), [("math.factorial", "math_factorial"), ("a-b_C9", "a-b_C9"), ("é" * 70, "_" * 64)]
)
def test_names_keep_to_what_the_api_allows(name: str, expected: str) -> None:
    assert tool_name(name) == expected


def test_a_question_becomes_a_record_whose_answer_is_the_ground_truth() -> None:
    before = json.dumps(ROW)
    made = record("bfcl-simple", Question(ROW, TRUTH), number=3)
    assert (made["id"], made["workload_id"], made["client_id"]) == ("simple_python_1", "bfcl-simple", "bfcl")
    assert made["timestamp"] == "2025-09-01T00:03:00+00:00"
    [call] = made["response"]["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == made["request"]["tools"][0]["function"]["name"] == "weather_current"
    assert json.loads(call["function"]["arguments"]) == {"city": "São Paulo", "box": [1.0, 2.0]}
    assert json.dumps(ROW) == before


def test_no_usage_and_no_latency_are_invented() -> None:
    made = record("bfcl-simple", Question(ROW, TRUTH), number=0)
    assert not {"latency_ms", "tokens_in", "tokens_out"} & set(made)
    assert "usage" not in made["response"]


def test_each_source_file_of_the_wheel_becomes_a_workload(wheel: Path, tmp_path: Path) -> None:
    assert write_log(wheel, tmp_path / "log") == {"bfcl-simple": 1, "bfcl-live": 1}
    lines = (tmp_path / "log" / "bfcl-live.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0])["workload_id"] == "bfcl-live"


def test_the_command_writes_the_log_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, real_questions.__file__, "--wheel", str(wheel), "--out", "log"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True)
    assert "bfcl-simple.jsonl: 1 records" in done.stderr
    assert (tmp_path / "log" / "bfcl-simple.jsonl").exists()
