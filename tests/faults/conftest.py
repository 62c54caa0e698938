"""A started Prefect server as people have one, settings of a small run, and a process that starts runs to be killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from flywheel.config import (
    CandidateConfig,
    ConnectionsConfig,
    DataSplitConfig,
    EvaluationConfig,
    FlywheelConfig,
    LogsConfig,
)
from flywheel.results import RunResult
from tests.fakes.gpu_platform import GpuPlatformServer
from tests.prefect_homes import server_of_its_own

ITEMS = 12


@pytest.fixture(scope="package")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server_of_its_own(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture
def config(sample_log: Path, tmp_path: Path, gpu_platform: GpuPlatformServer) -> FlywheelConfig:
    """One candidate; slots that do not run out while the leases of killed runs do."""
    return FlywheelConfig(
        workload_id="support-router",
        client_id="acme-web",
        logs=LogsConfig(path=str(sample_log)),
        data_split_config=DataSplitConfig(eval_size=ITEMS, limit=120, min_total_records=20),
        evaluation_config=EvaluationConfig(concurrency=4),
        connections=ConnectionsConfig(home=str(tmp_path / "home"), platform="fake-gpu-platform/main"),
        gpu_slots=1000,
        candidates=[CandidateConfig(name="alpha", model="small-a")],
    )


class Runner:
    """Attempts at runs, each in a process that was forked for it."""

    def __init__(self, log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.runner"],
                env={**os.environ, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL", **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def start(
        self,
        config: FlywheelConfig,
        run_id: str,
        *,
        stop_at: str | None = None,
        signals: Sequence[int] = (signal.SIGKILL,),
        record: Path | None = None,
        largest_file: int | None = None,
    ) -> int:
        """Start an attempt; its process id. At the boundary `stop_at` it gets the signals."""
        return int(
            self._ask(
                config=config.model_dump(mode="json"),
                run_id=run_id,
                stop_at=stop_at,
                signals=[int(number) for number in signals],
                record=str(record) if record else None,
                largest_file=largest_file,
            )["pid"]
        )

    def wait(self, pid: int, seconds: float = 300) -> int:
        """Its exit code, or minus the signal that ended it."""
        end = self._ask(wait=pid, seconds=seconds)
        assert end["signal"] or end["code"] is not None, f"it did not end in {seconds} s: {self.tail()}"
        return -end["signal"] if end["signal"] else int(end["code"])

    def run(self, config: FlywheelConfig, run_id: str, **how: Any) -> int:
        """An attempt from start to end."""
        return self.wait(self.start(config, run_id, **how))

    def tail(self) -> str:
        """The end of what the attempts wrote to stderr."""
        return self.log.read_text(errors="replace")[-3000:]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(120)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _ask(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self.tail()
        document: dict[str, Any] = json.loads(answer)
        return document


@pytest.fixture(scope="package")
def runner(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    runner = Runner(
        tmp_path_factory.mktemp("runner") / "stderr.log",
        {"PREFECT_API_URL": prefect_api, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "600"},
    )
    yield runner
    runner.close()


def what_was_found(run: RunResult) -> dict[str, Any]:
    """Everything of a run that must not depend on how often it was interrupted: no times, no ids, no places."""
    return {
        "status": run.status,
        "funnel": run.funnel,
        "datasets": contents(Path(run.datasets["datasets"].removeprefix("file://"))),
        "candidates": {
            candidate.candidate: {
                evaluation.eval_type: (evaluation.scores, evaluation.items, evaluation.error)
                for evaluation in candidate.evaluations
            }
            for candidate in run.candidates
        },
        "eval set": run.eval_set,
    }


def contents(folder: Path) -> dict[str, str]:
    """Hash of each file for people and trainers below a dataset."""
    files = sorted(folder.rglob("*.jsonl"))
    assert files, folder
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
