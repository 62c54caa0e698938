"""`flywheel demo`: the sample workload end to end, with a real model on this machine."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flywheel.config import FlywheelConfig

HELP = "run the whole flywheel on a sample production log, with a real small model on CPU"
EXAMPLE = "flywheel demo"
WORKLOAD = "support-router"
CLIENT = "acme-web"
MODEL = "demo:smollm2-135m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `run` has, without the log."""
    from flywheel.cli.run import add_run_arguments

    add_run_arguments(parser)
    parser.add_argument(
        "--write-log",
        metavar="DIR",
        help="only write the sample log into a new directory, to try other commands on",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the sample log, run on it, show what came out."""
    from blocks.connections import home_directory
    from flywheel.cli.run import run_and_show
    from flywheel.config import ConnectionsConfig
    from flywheel.sample import write_sample_log

    if arguments.write_log:
        return write_log_only(Path(arguments.write_log), as_json=arguments.json)
    logs = home_directory(ConnectionsConfig()) / "sample-log"
    write_sample_log(logs)
    return run_and_show(demo_config(str(logs)), arguments)


def write_log_only(directory: Path, as_json: bool) -> int:
    """Write the sample log and say what can be done with it. Raises: ConfigError where something is there already."""
    from flywheel.cli.terminal import console, emit_json, plain
    from flywheel.errors import ConfigError
    from flywheel.sample import write_sample_log

    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} is there already; name a directory that is new or empty.")
    write_sample_log(directory)
    if as_json:
        emit_json({"log": str(directory), "workload": WORKLOAD, "client": CLIENT})
    else:
        logs = shlex.quote(str(directory))
        console().print(
            plain(f"The sample log is in {directory}. See what is in it: flywheel workloads --logs {logs}")
        )
    return 0


def demo_config(logs: str) -> FlywheelConfig:
    """One small model as it is, with in-context examples, and fine-tuned; sized for two CPU cores and minutes."""
    from flywheel.config import (
        CandidateConfig,
        DataSplitConfig,
        EvaluationConfig,
        FlywheelConfig,
        IclConfig,
        LogsConfig,
        TrainingConfig,
    )

    return FlywheelConfig(
        workload_id=WORKLOAD,
        client_id=CLIENT,
        description="The demo: can a model of 135 million parameters route support requests?",
        logs=LogsConfig(path=logs),
        data_split_config=DataSplitConfig(eval_size=40, val_ratio=0.05, limit=500),
        icl_config=IclConfig(max_context_length=2048, reserved_tokens=128, max_examples=3),
        training_config=TrainingConfig(epochs=1, learning_rate=2e-3),
        evaluation_config=EvaluationConfig(concurrency=40, default_max_tokens=64),
        candidates=[CandidateConfig(name="smollm2-rank16", model=MODEL)],
    )
