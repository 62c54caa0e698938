"""`flywheel run` as a user types it: a process of its own, its own Prefect server, a toy model that really trains."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from flywheel.sample import write_sample_log
from tests.fakes.toy_model import write_toy_model
from tests.prefect_homes import prefect_home, without_prefect
from tests.reading import rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def home_of_prefect(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prefect_home(tmp_path_factory.mktemp("prefect"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "log"
    write_sample_log(path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("toy") / "toy-model", weights=True, context=16_384)


class Command:
    """The command line in a home of its own."""

    def __init__(self, home: Path, home_of_prefect: Path, log: Path, model: Path) -> None:
        self.home = home
        self.env = {
            **without_prefect(),
            "FLYWHEEL_HOME": str(home),
            "PREFECT_HOME": str(home_of_prefect),
        }
        self.run = [
            *("run", "--logs", str(log), "--workload", "support-router", "--client", "acme-web"),
            *("--limit", "90", "--eval-size", "8", "--min-total-records", "20"),
            *("--set", f"candidates=[{{name: toy, model: '{model}'}}]"),
            *("--set", "training_config.max_seq_length=8192", "--set", "evaluation_config.max_tokens=8"),
        ]

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "flywheel.cli.main", *words],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=500)
        return process.returncode, out, err

    def processes_left(self) -> list[str]:
        """Command lines of living processes that were started for this home."""
        mark = f"FLYWHEEL_HOME={self.home}".encode()
        left = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    left.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:  # it ended meanwhile, or is not ours to look at
                continue
        return left


@pytest.fixture(scope="module")
def flywheel(
    home_of_prefect: Path, log: Path, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Command:
    return Command(tmp_path_factory.mktemp("user") / "home", home_of_prefect, log, model)


@dataclass
class Ended:
    """What a command left: its exit code, what it said, and which processes."""

    code: int
    out: str
    err: str
    processes: list[str]


@dataclass
class Stopped(Ended):
    """A run that got Ctrl-C during its training."""

    training: Path
    step: int

    @property
    def run_id(self) -> str:
        return self.err.split("--resume")[1].split()[0]


AT_LENGTH = ("--set", "training_config.epochs=1", "--set", "training_config.batch_size=1")


@pytest.fixture(scope="module")
def stopped(flywheel: Command) -> Stopped:
    process = flywheel.start(*flywheel.run, *AT_LENGTH)
    training = _wait_for_training(flywheel.home, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=250)
    step = json.loads((training / "status.json").read_text())["step"]
    return Stopped(process.returncode, out, err, flywheel.processes_left(), training, step)


@pytest.fixture(scope="module")
def resumed(flywheel: Command, stopped: Stopped) -> Ended:
    code, out, err = flywheel(*flywheel.run, *AT_LENGTH, "--resume", stopped.run_id, "--json")
    return Ended(code, out, err, flywheel.processes_left())


def test_ctrl_c_during_training_stops_everything_and_says_how_to_go_on(stopped: Stopped) -> None:
    assert stopped.code == 130, stopped.err
    assert "Traceback" not in stopped.err
    assert "--resume" in stopped.err
    assert stopped.processes == []
    assert stopped.step >= 1


def test_resumed_it_goes_on_with_its_training_and_ends_with_results_in_json(
    flywheel: Command, stopped: Stopped, resumed: Ended
) -> None:
    assert resumed.code == 0, resumed.err
    assert "Traceback" not in resumed.err
    assert resumed.processes == []
    assert [path.name for path in (flywheel.home / "jobs").iterdir()] == [stopped.training.name]
    (candidate,) = json.loads(resumed.out)
    assert (candidate["candidate"], candidate["status"]) == ("toy", "completed")
    assert [e["eval_type"] for e in candidate["evaluations"]] == ["base-eval", "icl-eval", "customized-eval"]
    for evaluation in candidate["evaluations"]:
        assert evaluation["error"] is None
        assert evaluation["progress"] == 100.0
        assert all(
            n + u in {8} or n + u < 8
            for n, u in zip(evaluation["n"].values(), evaluation["unscored"].values(), strict=True)
        )
        assert len(rows(Path(evaluation["predictions"]))) == 8


def test_its_results_are_shown_afterwards(flywheel: Command, stopped: Stopped, resumed: Ended) -> None:
    code, out, _ = flywheel("runs", "--json")
    (run,) = json.loads(out)
    assert (code, run["status"]) == (0, "completed")
    assert run["run_id"].startswith(stopped.run_id)
    code, again, _ = flywheel("results", run["run_id"][:6], "--json")
    assert json.loads(again)[0]["evaluations"] == json.loads(resumed.out)[0]["evaluations"]
    code, shown, err = flywheel("results", "--divergent")
    assert code == 0, err
    assert "function_name_and_args_accuracy" in shown
    assert "Where the records" in shown


def _wait_for_training(home: Path, process: subprocess.Popen[str]) -> Path:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        for status in (home / "jobs").glob("*/status.json"):
            if json.loads(status.read_text())["step"] >= 1:
                return status.parent
        time.sleep(0.1)
    raise AssertionError("training did not start")
